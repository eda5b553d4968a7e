"""Discord's view of the service; reaches it over HTTP alone."""
