"""Image generation with Stable Cascade; imports no web, queue or cluster framework."""
