"""The Discord bot, a client of the service's HTTP API."""
