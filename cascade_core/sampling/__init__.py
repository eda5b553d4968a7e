"""The denoising loop and its random numbers."""
