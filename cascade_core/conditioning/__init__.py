"""What steers Stage C: embeddings of prompts, latents of pictures."""
