"""Benchmarks of the step engine and of hand-offs."""
