"""What operations on a latent or an upload keep and change of a picture, measured."""
