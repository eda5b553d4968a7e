"""Train the embedded demo cascade from nothing: scenes, text encoder, stages A, B and C."""
