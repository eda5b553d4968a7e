"""The client of the service's HTTP API."""
