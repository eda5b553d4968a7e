"""Assets over HTTP: which of them a caller sees, what it may do with them, and how it does it."""
