"""Signing in, as a page of the service does."""

from __future__ import annotations

import httpx

PAGE = {"sec-fetch-site": "same-origin", "origin": "http://localhost"}
"""What a browser sends along for a page of the service."""


async def sign_in(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Sign in with a key's token; the client keeps the cookie."""
    return await client.post("/v1/sessions", json={"key": token}, headers=PAGE)
