"""The door: nobody unknown gets past it, whatever route they ask for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cascade_core.errors import CascadeError, NotReady, Unauthorized
from cascade_core.service_url import is_loopback
from serve.gateway.auth.permissions import EVERYBODY, SCOPE_ENTRY, Caller
from serve.gateway.auth.revocable import Visit
from serve.gateway.auth.signed_links import SHARED_FOLDER
from serve.gateway.rate_limiter import RateLimiter
from serve.responses.errors import error_response
from serve.storage.credentials import ApiKey, find_valid
from serve.storage.database import Database
from serve.telemetry.log import log_context

POLICY_VIOLATION = 1008
"""A websocket's closing code; the service has none."""
CACHE_S = 2.0
"""A key that is made or revoked is known within this time, without a query per request."""
GRACE_S = 60.0
"""Keys that are known are taken for so long while the database does not answer."""
READ_PATIENCE_S = 5.0
"""A reading of the keys that takes longer is not waited for where the keys before it will do."""
TOUCH_EVERY_S = 3600.0
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
GREETS_ADMINS = frozenset({"/readyz"})
"""Public, but with more to tell to an admin."""
PUBLIC_FOLDERS = ("/docs/assets/", SHARED_FOLDER)
"""Links to shared images carry a signature instead."""
FORWARDING_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})
"""And all whose names begin with ``x-forwarded-``."""

_BAD_KEY = "send a valid API key as 'Authorization: Bearer csk_...'"
_NO_KEYS = (
    "this server has no API keys yet, so it answers requests from its own machine only, sent to "
    "localhost; make one there with 'cascade keys create NAME'"
)
_KEYLESS_REFUSES = (
    "this server has no API keys yet, so it answers its own machine only, and the header {} says "
    "that this request {}; make a key with 'cascade keys create NAME'"
)
_NO_KEYS_BEHIND_PROXY = (
    "this server has no API keys yet and cannot tell who asks; make one on its machine with "
    "'cascade keys create NAME'"
)

logger = logging.getLogger(__name__)


class KeyRing:
    """The keys as this process knows them; read again every few seconds.

    Args:
        database: where they are.
        clock: seconds that only grow.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._read_at_s: float | None = None
        self._began_at_s = 0.0
        self._failure: NotReady | None = None
        self._reading: asyncio.Task[None] | None = None
        self._touched_at_s: dict[str, float] = {}

    async def keys(self) -> dict[str, ApiKey]:
        """Return all keys by id, revoked ones included.

        Raises:
            NotReady: the database does not answer, and the keys read last are too old.
        """
        now_s = self._clock()
        reading = self._reading
        if reading is None or (reading.done() and now_s - self._began_at_s >= CACHE_S):
            self._began_at_s = now_s
            reading = self._reading = asyncio.create_task(self._read(now_s))
        if not reading.done():
            await asyncio.wait({reading}, timeout=self._patience_s(now_s))
        if reading.done():
            reading.result()
        failure = self._failure
        if failure is not None and not self._may_use_old_keys(now_s):
            raise NotReady(failure.message, reason=failure.reason) from failure
        return self._keys

    def _patience_s(self, now_s: float) -> float | None:
        """Return how long a request waits for a reading; None: to its end, as nothing is known.

        A database that is silent would hold up every request otherwise.
        """
        is_known = self._failure is not None or self._may_use_old_keys(now_s)
        return max(0.0, self._began_at_s + READ_PATIENCE_S - now_s) if is_known else None

    async def _read(self, now_s: float) -> None:
        try:
            found = await self._database.run(self._database.keys.all)
        except NotReady as error:
            self._failure = error
        else:
            self._keys = {key.id: key for key in found}
            self._read_at_s, self._failure = now_s, None

    def _may_use_old_keys(self, now_s: float) -> bool:
        """Return True if keys are known and were read a short while ago.

        Nothing can be revoked while the database is away. Without any keys this machine is let in,
        for which there has to be knowledge.
        """
        return bool(
            self._keys and self._read_at_s is not None and now_s - self._read_at_s < GRACE_S
        )

    async def is_valid(self, key_id: str) -> bool:
        """Tell whether a key has not been revoked, as far as the database can be asked."""
        try:
            key = (await self.keys()).get(key_id)
        except NotReady:
            return True
        return key is not None and key.revoked_at is None

    async def touch(self, key_id: str) -> None:
        """Note that a key is in use, once an hour."""
        touched_at_s, now_s = self._touched_at_s.get(key_id), self._clock()
        if touched_at_s is None or now_s - touched_at_s >= TOUCH_EVERY_S:
            self._touched_at_s[key_id] = now_s
            with suppress(NotReady):
                await self._database.run(self._database.keys.touch, key_id)


class GuardMiddleware:
    """Lets in who has a valid key, or who sits at this machine while there are no keys.

    It works before a route is looked up or a body is read, so a forgotten check in a route can
    show too much to a known caller at most. Routes find the caller by
    `serve.gateway.auth.permissions`.

    Args:
        app: the application inside.
        ring: the keys.
        recheck_s: how often the key of an open request is looked at again.
        knows_clients: requests come from the address of who asks; otherwise none is from this
            machine.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, recheck_s: float, knows_clients: bool) -> None:
        self._app = app
        self._knows_clients = knows_clients
        self._recheck_s = recheck_s
        self._ring = ring
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
            if scope["path"] in GREETS_ADMINS:
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
            visit = Visit(partial(self._ring.is_valid, caller.key_id), self._recheck_s)
            await self._app(entered, visit.watched(receive), visit.noted(send))
            await visit.close(send)

    async def _caller(self, scope: Scope) -> Caller:
        keys = await self._ring.keys()
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
        await self._ring.touch(key.id)
        return Caller(key.id, key.scopes)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _is_local(scope: Scope, headers: Headers) -> bool:
    """Tell whether a request comes from this machine and was meant for it.

    The name it was sent to counts, too: a web page elsewhere can let its own name point to
    127.0.0.1 and have the visitor's browser ask for it (DNS rebinding).
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
    """Refuse what a reverse proxy on this machine passes on for others.

    These headers also are the only ones by which uvicorn, told so by ``FORWARDED_ALLOW_IPS``, takes
    another address for the client's.
    """
    for name in headers:
        if name in FORWARDING_HEADERS or name.startswith("x-forwarded-"):
            raise Unauthorized(_KEYLESS_REFUSES.format(name, "came through a proxy"))


def _check_own_site(headers: Headers) -> None:
    """Refuse what a web page of another site has a browser on this machine send."""
    if not set(headers.getlist("sec-fetch-site")) <= {"none", "same-origin"}:
        raise Unauthorized(_KEYLESS_REFUSES.format("sec-fetch-site", "comes from another site"))
    for origin in headers.getlist("origin"):
        if origin.lower().partition("://")[2] != headers["host"].lower():
            raise Unauthorized(_KEYLESS_REFUSES.format("origin", "comes from another site"))


def _bearer_token(headers: Headers) -> str:
    """Return the one bearer token; empty if there is none, or more than one header."""
    sent = headers.getlist("authorization")
    kind, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token.strip(" ") if kind.lower() == "bearer" else ""
