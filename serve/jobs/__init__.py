"""The process that runs jobs: queues, workflow, recovery."""
