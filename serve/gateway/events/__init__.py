"""Streams of events: those of one job, and those of all jobs of a caller."""
