"""The tables and the revisions that lead to them."""
