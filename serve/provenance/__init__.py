"""Signed provenance of pictures (C2PA): signing keys, what manifests state, reading them."""
