"""Stores bytes by key: pictures, latents and previews."""
