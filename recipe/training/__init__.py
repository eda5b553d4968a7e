"""The training of each part of the demo model."""
