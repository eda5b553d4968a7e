"""Stores bytes by key: pictures, latents, hand-offs and previews."""
