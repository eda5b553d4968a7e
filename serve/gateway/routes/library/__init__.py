"""The routes of the library: what is found in it, and what its owner does with it."""
