"""The address under which links are given out."""

from __future__ import annotations

from fastapi import Request

from cascade_core.service_url import is_loopback
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller
from serve.settings import Settings


def public_address(settings: Settings, request: Request) -> str | None:
    """Return how clients reach the service, without a slash at the end; None if that is not known.

    ``CASCADE_PUBLIC_URL`` says it. Without it the address that the request was sent to is used if
    it must be right: this machine's, or the one that the service listens on. Any other name in a
    Host header is only what its sender claims.
    """
    if settings.public_url:
        return settings.public_url.rstrip("/")
    base_url = str(request.base_url).rstrip("/")
    caller: Caller = request.scope[SCOPE_ENTRY]
    if caller.key_id is None:  # the middleware has checked that this machine was meant
        return base_url
    host = request.base_url.hostname or ""
    server = request.scope.get("server")
    own = {settings.http_host, server[0] if server else ""}
    return base_url if host and (is_loopback(host) or host in own) else None
