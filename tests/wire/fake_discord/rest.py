"""The way of a REST request: recorded, hurt by faults, limited, answered."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.wire.fake_discord.errors import ApiError, Problem, form_error, not_emulated
from tests.wire.fake_discord.faults import Fault
from tests.wire.fake_discord.messages import Upload
from tests.wire.fake_discord.rules.writing import Draft, size_of
from tests.wire.fake_discord.traffic import Exchange

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

BASE = "/api/v10"
_MAX_REQUEST_BYTES = 25 << 20
_WITHOUT_TOKEN = ("/interactions/", "/webhooks/")  # their path is their authorization
_VIA = {"Via": "1.1 fake"}  # discord.py takes a 429 without it for a ban


@dataclass(frozen=True)
class Call:
    """A request as a route sees it."""

    args: dict[str, str]
    exchange: Exchange

    @property
    def json(self) -> Any:
        """The body."""
        return self.exchange.json

    def draft(self, file_limit_bytes: int) -> Draft:
        """Return the message that was sent.

        Raises:
            ApiError: a file, or all together, are too large.
        """
        draft = Draft(self.exchange.json or {}, self.exchange.files)
        too_large = any(len(f.content) > file_limit_bytes for f in draft.files.values())
        if too_large or size_of(draft) > _MAX_REQUEST_BYTES:
            raise ApiError(Problem.TOO_LARGE)
        return draft


Handler = Callable[["FakeDiscord", Call], Awaitable[Any]]


class Routes:
    """Handlers by method and path; what they return is the answer, None is 204."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, Handler]] = []

    def add(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Return a decorator that adds a route."""

        def register(handler: Handler) -> Handler:
            self.all.append((method, path, handler))
            return handler

        return register


class Rest:
    """Answers REST requests by the routes it is given; others get 501 and are recorded."""

    def __init__(self, fake: FakeDiscord, *groups: Routes) -> None:
        self._fake, self._groups = fake, groups

    def mount(self, app: web.Application) -> None:
        """Add the routes to an application."""
        for group in self._groups:
            for method, path, handler in group.all:
                app.router.add_route(method, BASE + path, self._answering(handler))
        app.router.add_route("*", "/{rest:.*}", self._answering(_unknown))

    def _answering(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            exchange = Exchange(
                request.method,
                request.path.removeprefix(BASE),
                self._fake.clock.now_s(),
                dict(request.query),
            )
            self._fake.traffic.rest.append(exchange)
            try:
                return await self._answer(request, exchange, handler)
            except Exception as error:
                self._fake.traffic.breakdowns.append(f"{exchange}: {error!r}")
                raise
            finally:
                self._fake.announce()

        return answer

    async def _answer(
        self, request: web.Request, exchange: Exchange, handler: Handler
    ) -> web.Response:
        try:
            exchange.json, exchange.files = await _read(request)
        except ApiError as error:
            return _respond(exchange, error.status, error.body)
        self._fake.announce()
        fault = self._fake.faults.take(exchange)
        if fault is None:
            return await self._handle(request, exchange, handler)
        answer = await self._handle(request, exchange, handler) if fault.after_effect else None
        await fault.wait()
        if fault.is_only_late:
            return answer or await self._handle(request, exchange, handler)
        return _hurt(request, exchange, fault)

    async def _handle(
        self, request: web.Request, exchange: Exchange, handler: Handler
    ) -> web.Response:
        headers: dict[str, str] = {}
        try:
            self._check_token(request, exchange)
            headers = self._fake.limits.take(exchange)
            body = await handler(self._fake, Call(dict(request.match_info), exchange))
            return _respond(exchange, 204 if body is None else 200, body, headers)
        except ApiError as error:
            return _respond(exchange, error.status, error.body, headers | error.headers)

    def _check_token(self, request: web.Request, exchange: Exchange) -> None:
        if exchange.path.startswith(_WITHOUT_TOKEN):
            return
        if request.headers.get("Authorization") != f"Bot {self._fake.token}":
            raise ApiError(Problem.UNAUTHORIZED)


async def _unknown(fake: FakeDiscord, call: Call) -> Any:
    raise not_emulated(f"{call.exchange.method} {call.exchange.path}")


def _hurt(request: web.Request, exchange: Exchange, fault: Fault) -> web.Response:
    exchange.is_injected = True
    if fault.hangs_up and request.transport is not None:
        exchange.status = None
        request.transport.abort()
        return web.Response()
    assert fault.status is not None
    if isinstance(fault.body, str):
        exchange.status = fault.status
        return web.Response(text=fault.body, status=fault.status, headers=fault.headers)
    return _respond(exchange, fault.status, fault.body, fault.headers)


def _respond(
    exchange: Exchange, status: int, body: Any, headers: dict[str, str] | None = None
) -> web.Response:
    exchange.status, exchange.headers = status, headers or {}
    exchange.response = None if body is None else json.loads(json.dumps(body))
    if body is None:
        return web.Response(status=status, headers=_VIA | exchange.headers)
    # discord.py reads JSON only if the type is exactly this one, without a charset.
    typed = {"Content-Type": "application/json"}
    content = json.dumps(body).encode()
    return web.Response(body=content, status=status, headers=_VIA | exchange.headers | typed)


async def _read(request: web.Request) -> tuple[Any, dict[int, Upload]]:
    if not request.content_type.startswith("multipart/"):
        text = await request.text()
        try:
            return (json.loads(text) if text else None), {}
        except ValueError:
            raise ApiError(Problem.INVALID_FORM) from None
    payload, files = None, {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        name = part.name or ""
        if name == "payload_json":
            payload = json.loads(await part.text())
        elif found := re.fullmatch(r"files\[(\d+)\]", name):
            kind = part.headers.get("Content-Type", "application/octet-stream")
            content = bytes(await part.read())
            files[int(found[1])] = Upload(part.filename or "", content, kind)
        else:
            raise form_error(name, "Unexpected multipart field", "BASE_TYPE_REQUIRED")
    return payload, files
