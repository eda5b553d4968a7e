"""Stages C, B and A behind one interface that the engine and the pipeline drive."""
