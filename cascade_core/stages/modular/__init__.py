"""Stages that run diffusers' modular pipelines, one step of one image at a time."""
