"""What was decided on the compositions of a job, and the parts that the job has by that."""
