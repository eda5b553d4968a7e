"""The model families: their stages and how these follow each other, as data."""
