"""Comparisons of models or settings: their jobs, their pairs of pictures, votes."""
