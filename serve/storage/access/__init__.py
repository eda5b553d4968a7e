"""API keys, browser sessions and the secrets of the service itself."""
