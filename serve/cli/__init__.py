"""The ``cascade`` command line; torch, ray and httpx are loaded only by commands that need them."""
