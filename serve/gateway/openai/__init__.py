"""OpenAI's images API on top of jobs."""
