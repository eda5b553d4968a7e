"""The queue of open jobs: positions, estimates of their ends, admission of new ones."""
