"""What generating an image with Stable Cascade is; knows no web, queue or cluster framework."""
