"""Autoscaling policies against each other on traces of arrivals; start at `__main__`."""
