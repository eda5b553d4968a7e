"""Pixels to image files and back, with metadata."""
