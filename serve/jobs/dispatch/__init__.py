"""Dispatches calls to stages: in a fair order, within memory, again after a failure."""
