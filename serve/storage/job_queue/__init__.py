"""The queue of open jobs: positions, estimates of their ends, deadlines, admission of new ones."""
