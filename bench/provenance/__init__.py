"""Signed pictures: what signing costs, other builds of C2PA that verify them, near pictures."""
