"""What surrounds every HTTP request."""
