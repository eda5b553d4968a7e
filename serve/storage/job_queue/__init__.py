"""The queue of open jobs: positions, estimates, deadlines, admission; what was done lately."""
