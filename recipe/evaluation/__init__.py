"""What the exported model draws, measured."""
