"""Follows jobs and delivers their outcomes to Discord."""
