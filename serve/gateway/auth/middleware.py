"""Authenticates each request by its API key, whatever route it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade_core.errors import CascadeError, Unauthorized
from cascade_core.service_url import is_loopback
from serve.gateway.auth.key_cache import KeyCache
from serve.gateway.auth.permissions import EVERYBODY, SCOPE_ENTRY, Caller
from serve.gateway.auth.signed_links import SHARED_FOLDER
from serve.gateway.limits import RateLimiter
from serve.responses.errors import error_response
from serve.storage.credentials import find_valid
from serve.telemetry.log import log_context

POLICY_VIOLATION = 1008
"""The code that closes a websocket; the service has none."""
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
TELLS_ADMINS_MORE = frozenset({"/readyz"})
"""Public paths that show more to an admin's key."""
PUBLIC_FOLDERS = ("/docs/assets/", SHARED_FOLDER)
"""Links to shared images have a signature instead of a key."""
FORWARDING_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})
"""And all whose names begin with ``x-forwarded-``."""

_BAD_KEY = "send a valid API key as 'Authorization: Bearer csk_...'"
_NO_KEYS = (
    "this server has no API keys yet, so it answers only requests that its own machine sends to "
    "localhost; make a key there with 'cascade keys create NAME'"
)
_KEYLESS_REFUSES = (
    "this server has no API keys yet, so it answers its own machine only, and the header {} says "
    "that this request {}; make a key with 'cascade keys create NAME'"
)
_NO_KEYS_BEHIND_PROXY = (
    "this server has no API keys yet and cannot see the address of a client; make a key on its "
    "machine with 'cascade keys create NAME'"
)


class AuthMiddleware:
    """Authenticates each request by its API key; without any keys, admits this machine only.

    It runs before a route is looked up or a body is read, so a route without a check of its own is
    still closed to unknown callers. Routes get the caller from `serve.gateway.auth.permissions`.

    Args:
        app: the application inside.
        keys: the API keys.
        recheck_s: seconds between two checks of the key of an open request.
        knows_clients: requests come from the client's own address; False: from a proxy's, so that
            no request is known to come from this machine.
    """

    def __init__(self, app: ASGIApp, keys: KeyCache, recheck_s: float, knows_clients: bool) -> None:
        self._app = app
        self._knows_clients = knows_clients
        self._recheck_s = recheck_s
        self._keys = keys
        self._limiter = RateLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _is_public(scope["path"]):
            if scope["path"] in TELLS_ADMINS_MORE:
                with suppress(CascadeError):
                    scope = {**scope, SCOPE_ENTRY: await self._caller(scope)}
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
        except CascadeError as error:
            await error_response(error)(scope, receive, send)
            return
        with log_context(key_id=caller.key_id):
            entered = {**scope, SCOPE_ENTRY: caller}
            if caller.key_id is None:
                await self._app(entered, receive, send)
                return
            is_valid = partial(self._keys.is_valid, caller.key_id)
            request = RevocableRequest(is_valid, self._recheck_s)
            await self._app(entered, request.watched(receive), request.noted(send))
            await request.close(send)

    async def _caller(self, scope: Scope) -> Caller:
        keys = await self._keys.keys()
        headers = Headers(scope=scope)
        if not keys:
            if not self._knows_clients:
                raise Unauthorized(_NO_KEYS_BEHIND_PROXY)
            if not _is_local(scope, headers):
                raise Unauthorized(_NO_KEYS)
            _check_not_passed_on(headers)
            _check_own_site(headers)
            return EVERYBODY
        key = find_valid(_bearer_token(headers), keys)
        if key is None:
            raise Unauthorized(_BAD_KEY)
        self._limiter.take(key.id, key.requests_per_minute)
        await self._keys.touch(key.id)
        return Caller(key.id, key.scopes)


class RevocableRequest:
    """An open request of a key; once the key is revoked, the client counts as disconnected.

    Args:
        is_valid: returns True while the key is valid.
        recheck_s: seconds between two checks, while the client sends nothing.
    """

    def __init__(self, is_valid: Callable[[], Awaitable[bool]], recheck_s: float) -> None:
        self._is_valid = is_valid
        self._recheck_s = recheck_s
        self._is_over = False
        self._is_answering = False

    def watched(self, receive: Receive) -> Receive:
        """Return a ``receive`` that reports a disconnect once the key is revoked."""

        async def receive_or_disconnect() -> Message:
            coming = asyncio.ensure_future(receive())
            try:
                while not self._is_over:
                    if (await asyncio.wait({coming}, timeout=self._recheck_s))[0]:
                        return coming.result()
                    self._is_over = not await self._is_valid()
                return {"type": "http.disconnect"}
            finally:
                coming.cancel()

        return receive_or_disconnect

    def noted(self, send: Send) -> Send:
        """Return a ``send`` that records whether the answer is complete."""

        async def send_and_note(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            self._is_answering = is_start or message.get("more_body", False)
            await send(message)

        return send_and_note

    async def close(self, send: Send) -> None:
        """End a stream that the application left open because the key was revoked."""
        if self._is_over and self._is_answering:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _is_local(scope: Scope, headers: Headers) -> bool:
    """Return True if a request comes from this machine and was meant for it.

    The Host header counts, too: a web page elsewhere can point its own name to 127.0.0.1 and make
    a visitor's browser send requests to it (DNS rebinding).
    """
    client, hosts = scope.get("client"), headers.getlist("host")
    if client is None or len(hosts) != 1:
        return False
    try:
        target = urlsplit(f"//{hosts[0]}")
        _ = target.port  # a ValueError where it is no number
    except ValueError:
        return False
    is_host = target.netloc == hosts[0] and "@" not in hosts[0]
    return is_host and is_loopback(client[0]) and is_loopback(target.hostname or "")


def _check_not_passed_on(headers: Headers) -> None:
    """Refuse requests that a reverse proxy on this machine forwards.

    With ``FORWARDED_ALLOW_IPS`` set, these headers are also the only ones that change the client's
    address for uvicorn.
    """
    for name in headers:
        if name in FORWARDING_HEADERS or name.startswith("x-forwarded-"):
            raise Unauthorized(_KEYLESS_REFUSES.format(name, "came through a proxy"))


def _check_own_site(headers: Headers) -> None:
    """Refuse requests that another site's web page made a browser on this machine send."""
    if not set(headers.getlist("sec-fetch-site")) <= {"none", "same-origin"}:
        raise Unauthorized(_KEYLESS_REFUSES.format("sec-fetch-site", "comes from another site"))
    for origin in headers.getlist("origin"):
        if origin.lower().partition("://")[2] != headers["host"].lower():
            raise Unauthorized(_KEYLESS_REFUSES.format("origin", "comes from another site"))


def _bearer_token(headers: Headers) -> str:
    """Return the bearer token; empty if there is none, or more than one header."""
    sent = headers.getlist("authorization")
    kind, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token.strip(" ") if kind.lower() == "bearer" else ""
