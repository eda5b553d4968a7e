"""The service against servers around diffusers' pipeline, on the same machine and in turns."""
