"""The library: every picture with the words of its prompt, found newest first."""
