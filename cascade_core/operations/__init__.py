"""The kinds of job: what each lets a client choose, and which stages it passes."""
