"""Measures this code against the commit before its own networks, both on this machine, in turns."""
