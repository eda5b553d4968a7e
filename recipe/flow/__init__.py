"""The second demo model: one flow-matching net from a caption to Stage A's latent."""
