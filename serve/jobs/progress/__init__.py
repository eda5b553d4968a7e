"""What clients see of a running job: its steps and previews."""
