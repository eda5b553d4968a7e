"""The whole service on one machine: its Ray cluster, private files, limit of open files."""
