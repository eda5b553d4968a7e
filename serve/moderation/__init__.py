"""Asks content checkers whether prompts and compositions are allowed."""
