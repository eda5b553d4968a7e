"""The whole service on one machine: its Ray cluster, private files, open files."""
