"""API keys, permissions and signed links."""
