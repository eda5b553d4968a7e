"""The studio: the service's page for browsers, its files and the addresses that serve them."""
