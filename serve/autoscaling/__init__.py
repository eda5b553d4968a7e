"""How many replicas each stage gets."""
