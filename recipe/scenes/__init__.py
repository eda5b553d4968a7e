"""The demo model's pictures and their captions: what they show, drawn and kept as a data set."""
