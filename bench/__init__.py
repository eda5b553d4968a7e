"""Benchmarks: each measures its baseline in the same run, writes JSON and a table."""
