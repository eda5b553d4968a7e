"""The step engine: one thread runs the rows of one stage."""
