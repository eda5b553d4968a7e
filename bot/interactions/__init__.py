"""Handles interactions of Discord: responds to them, submits jobs, looks up pictures."""
