"""Stable Cascade at its published sizes on one GPU, against diffusers' pipelines."""
