"""What clients see of running jobs: steps and previews, recorded for those that are watched."""
