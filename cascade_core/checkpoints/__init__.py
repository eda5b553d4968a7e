"""A model's files: where they are, what they say, how they load."""
