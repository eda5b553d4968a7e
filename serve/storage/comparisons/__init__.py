"""Comparisons of models or settings, and what people prefer."""
