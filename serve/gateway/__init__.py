"""The HTTP process: routes, authentication, events."""
