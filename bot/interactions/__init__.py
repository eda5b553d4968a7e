"""From an interaction of Discord to a job, and back to its answer."""
