"""The service's own address, for the links that it gives to clients."""

from __future__ import annotations

from fastapi import Request

from cascade_core.service_url import is_loopback
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller
from serve.settings import Settings


def public_address(settings: Settings, request: Request) -> str | None:
    """Return the address by which clients reach the service, without a final slash, or None.

    It is ``CASCADE_PUBLIC_URL``. Without that setting it is the address that the request was sent
    to, if that is this machine's or the one that the service listens on. Any other name in a Host
    header is a claim of the client and not used.
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
