"""Authenticates each request by its API key or session, whatever route it asks for."""

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
from serve.gateway.auth.same_origin import check_own_page, foreign_header
from serve.gateway.auth.session_cookie import session_token
from serve.gateway.auth.signed_links import SHARED_FOLDER
from serve.gateway.limits import RateLimiter
from serve.responses.errors import error_response
from serve.storage.access.credentials import find_valid
from serve.studio.files import PAGE
from serve.telemetry.log import log_context

POLICY_VIOLATION = 1008
"""The code that closes a websocket; the service has none."""
SIGN_IN = ("POST", "/v1/sessions")
"""The only request that brings its key in its body."""
PUBLIC_PATHS = frozenset({"/", PAGE, "/healthz", "/readyz", "/docs", "/openapi.json"})
TELLS_ADMINS_MORE = frozenset({"/readyz"})
"""Public paths that show more to an admin's key."""
PUBLIC_FOLDERS = (f"{PAGE}/", "/docs/assets/", SHARED_FOLDER)
"""Links to shared images have a signature instead of a key."""
FORWARDING_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})
"""And all whose names begin with ``x-forwarded-``."""

SESSION_REQUESTS_PER_MINUTE = 6000
"""Of all sessions of a key. A page shows many small pictures at a time."""

THUMBNAILS = "/v1/thumbs/"
THUMBNAIL_COST = 1 / 50
"""A thumbnail counts as this part of a request: a screen of a gallery shows dozens of them."""

_ENDED = "this session has ended; sign in again"
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
    """Authenticates each request by its API key or session; without any keys, admits this machine.

    It runs before a route is looked up or a body is read, so a route without a check of its own is
    still closed to unknown callers. Routes get the caller from `serve.gateway.auth.permissions`.

    Args:
        app: the application inside.
        keys: the API keys.
        recheck_s: seconds between two checks of the key of an open request.
        knows_clients: requests come from the client's own address; False: from a proxy's, so that
            no request is known to come from this machine.
        public_url: the address by which clients reach the service, if it is set.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyCache,
        recheck_s: float,
        knows_clients: bool,
        public_url: str = "",
    ) -> None:
        self._app = app
        self._public_url = public_url
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
        if _is_public(scope["method"], scope["path"]):
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
            request = RevocableRequest(self._validity(caller), self._recheck_s)
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
            if (header := foreign_header(headers)) is not None:
                raise Unauthorized(_KEYLESS_REFUSES.format(header, "comes from another site"))
            return EVERYBODY
        cookie = session_token(scope, self._public_url)
        if cookie is not None and "authorization" not in headers:
            check_own_page(scope["method"], headers, self._public_url)
            return await self._signed_in(cookie, _cost(scope["path"]))
        key = find_valid(_bearer_token(headers), keys)
        if key is None:
            raise Unauthorized(_BAD_KEY)
        self._limiter.take(key.id, key.requests_per_minute, _cost(scope["path"]))
        await self._keys.touch(key.id)
        return Caller.of(key)

    async def _signed_in(self, cookie: str, cost: float) -> Caller:
        found = await self._keys.session(cookie)
        if found is None:
            raise Unauthorized(_ENDED)
        session, key = found
        # Of all its sessions together: a key signs in as often as it likes.
        self._limiter.take(f"sessions of {key.id}", SESSION_REQUESTS_PER_MINUTE, cost)
        await self._keys.touch(key.id)
        await self._keys.touch_session(session)
        return Caller.of(key, session)

    def _validity(self, caller: Caller) -> Callable[[], Awaitable[bool]]:
        """Return what says, while a request is open, whether its caller may still have it."""
        if caller.session is not None:
            return partial(self._keys.is_valid_session, caller.session)
        assert caller.key_id is not None  # without keys nothing is checked again
        return partial(self._keys.is_valid, caller.key_id)


class RevocableRequest:
    """An open request of a key or session; once that ends, the client counts as disconnected.

    Args:
        is_valid: returns True while the key or session is valid.
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


def _cost(path: str) -> float:
    return THUMBNAIL_COST if path.startswith(THUMBNAILS) else 1.0


def _is_public(method: str, path: str) -> bool:
    is_known = path in PUBLIC_PATHS or (method, path) == SIGN_IN
    return is_known or path.startswith(PUBLIC_FOLDERS)


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


def _bearer_token(headers: Headers) -> str:
    """Return the bearer token; empty if there is none, or more than one header."""
    sent = headers.getlist("authorization")
    kind, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token.strip(" ") if kind.lower() == "bearer" else ""
