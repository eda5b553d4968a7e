"""Calls the stages for images; what clients see of it: steps and previews."""
