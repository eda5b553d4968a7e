"""The HTTP bodies, as OpenAPI shows them."""
