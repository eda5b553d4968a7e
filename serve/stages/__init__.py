"""The GPU process: one replica of one stage."""
