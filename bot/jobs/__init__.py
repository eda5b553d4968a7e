"""Follows jobs and delivers their outcome to Discord."""
