"""The only door to the service: typed requests over HTTP, failures as `cascade_core.errors`.

Every request is safe to repeat (jobs carry an id of ours), so what fails on the way is tried again
within the time that the caller gives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import httpx
import httpx_sse

from bot.service.models import (
    FOUND,
    LOST,
    Job,
    JobEvent,
    JobPage,
    ModelInfo,
    ServiceStatus,
)
from bot.telemetry.log import current_reference
from cascade_core.errors import (
    CascadeError,
    Conflict,
    NotFound,
    NotReady,
    RateLimited,
    SettingsInvalid,
    from_dict,
)
from cascade_core.http_client import (
    EVENT_SILENCE_S,
    RETRYABLE_STATUSES,
    is_id,
    stream_headers,
)
from cascade_core.job_states import TERMINAL_STATES, JobState
from cascade_core.service_url import NO_SOCKS, SOCKS_REMEDY, proxy_of

_PAUSES_S = (0.25, 1.0, 2.0, 4.0)
_CONNECT_S = 5.0
_OVER, _OPENED = "over", "opened"
_LOST_AFTER = 2
"""Failures in a row: a connection that ends as connections do is back at once."""

logger = logging.getLogger(__name__)


class CascadeClient:
    """A connection to one service; close it with :meth:`close`.

    All methods raise errors of :mod:`cascade_core.errors`, NotReady when nothing answers in time.

    Args:
        url: where it answers, for example ``http://127.0.0.1:8000``.
        api_key: a trusted key; empty for a service without keys.
        budget_s: how long a request may take, with its repetitions.
        transport: how requests travel; None: over the network.

    Raises:
        SettingsInvalid: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        budget_s: float = 20.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._budget_s = budget_s
        # Every live job holds a stream open, so their number must not be bounded here.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        if proxy := proxy_of(url):
            logger.info("the service is asked through the proxy %s", proxy)
        else:
            # A transport of its own asks no proxy.
            transport = transport or httpx.AsyncHTTPTransport(limits=limits)
        try:
            self._http = httpx.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(budget_s, connect=_CONNECT_S),
                limits=limits,
                transport=transport,
            )
        except ImportError as error:  # of httpx' part for SOCKS
            raise SettingsInvalid(f"{proxy}: {NO_SOCKS}: {SOCKS_REMEDY}") from error
        except ValueError as error:
            raise SettingsInvalid(f"the proxy {proxy} is not an address: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def create_job(
        self, request: Mapping[str, Any], *, job_id: str, user: str, client_state: dict[str, Any]
    ) -> Job:
        """Have something made for a user; ``job_id`` is a ULID of now."""
        body = {**request, "id": job_id, "user": user, "client_state": client_state}
        return Job.from_json(await self._json("POST", "/v1/jobs", json=body))

    async def job(self, job_id: str, user: str | None = None) -> Job:
        """Return a job; with ``user`` only if it is theirs."""
        path = f"/v1/jobs/{_segment(job_id)}"
        return Job.from_json(await self._json("GET", path, params=_given(user=user)))

    async def jobs(
        self,
        *,
        state: JobState | None = None,
        user: str | None = None,
        inbox: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Return jobs, newest first."""
        params = _given(state=state, user=user, inbox=inbox, cursor=cursor, limit=str(limit))
        body = await self._json("GET", "/v1/jobs", params=params)
        return JobPage(tuple(map(Job.from_json, body["jobs"])), body["next_cursor"])

    async def cancel(self, job_id: str, user: str | None = None) -> Job:
        """Cancel a job and return it; one that has ended stays as it is."""
        path = f"/v1/jobs/{_segment(job_id)}"
        return Job.from_json(await self._json("DELETE", path, params=_given(user=user)))

    async def set_client_state(
        self, job_id: str, state: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        """Replace what is kept with a job.

        Raises:
            Conflict: something other than ``expected`` was there.
        """
        body = {"client_state": state, "expected": expected}
        try:
            await self._json("PATCH", f"/v1/jobs/{_segment(job_id)}", json=body)
        except Conflict:
            # A request that was repeated may have found its own first attempt.
            if (await self.job(job_id)).client_state != state:
                raise

    async def image(self, image_id: str, user: str | None = None) -> bytes:
        """Return a picture's original bytes."""
        path = f"/v1/images/{_segment(image_id)}"
        return (await self._send("GET", path, params=_given(user=user))).content

    async def job_of_image(self, image_id: str, user: str | None = None) -> str:
        """Return the id of the job that made a picture."""
        path = f"/v1/images/{_segment(image_id)}"
        try:
            async with (
                asyncio.timeout(self._budget_s),
                self._http.stream("GET", path, params=_given(user=user)) as answer,
            ):
                if answer.is_error:
                    await answer.aread()
                    raise _error(answer)
                return str(answer.headers["x-job-id"])
        except (TimeoutError, httpx.TransportError) as error:
            raise NotReady("the service does not answer") from error

    async def delete_image(self, image_id: str, user: str | None = None) -> None:
        """Delete a picture with its latent; one that is gone is no error."""
        await self._send("DELETE", f"/v1/images/{_segment(image_id)}", params=_given(user=user))

    async def preview(self, path: str) -> bytes:
        """Return a preview, small WebP bytes, by the path that an event named."""
        return (await self._send("GET", path)).content

    async def share(self, image_id: str, expires_in_s: int) -> str:
        """Return a link to a picture that works without a key for a while."""
        path, body = f"/v1/images/{_segment(image_id)}/share", {"expires_in_s": expires_in_s}
        return str((await self._json("POST", path, json=body))["url"])

    async def preference(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        """Return what is kept under a name; None: nothing."""
        path = f"/v1/preferences/{_segment(name)}"
        try:
            value: dict[str, Any] = (await self._json("GET", path, params=_given(user=user)))[
                "value"
            ]
        except NotFound:
            return None
        return value

    async def set_preference(
        self, name: str, value: dict[str, Any], user: str | None = None
    ) -> None:
        """Keep a value under a name."""
        path, body = f"/v1/preferences/{_segment(name)}", {"value": value}
        await self._json("PUT", path, params=_given(user=user), json=body)

    async def delete_preference(self, name: str) -> None:
        """Forget what is kept under a name."""
        await self._send("DELETE", f"/v1/preferences/{_segment(name)}")

    async def model(self) -> ModelInfo:
        """Return what the service says about its model."""
        return ModelInfo.from_json((await self._json("GET", "/v1/models"))["data"][0])

    async def status(self) -> ServiceStatus:
        """Return how busy the service is."""
        return ServiceStatus.from_json(await self._json("GET", "/v1/status"))

    async def check(self) -> None:
        """Return if the service would run a job now.

        Raises:
            NotReady: it would not; the message says what is missing.
        """
        await self._send_once("GET", "/readyz", {})

    async def events(self, job_id: str) -> AsyncGenerator[JobEvent]:
        """Yield a job's events, past ones first, up to and with its end; reconnects by itself.

        While the service does not answer, it yields one event ``LOST``, then one ``FOUND``. The
        events of a job that ended long ago may be gone; then nothing comes.

        Raises:
            CascadeError: the service refuses; waiting would not help.
        """
        last_id, failures, unopened, is_lost = "", 0, 0, False
        while True:
            try:
                async with aclosing(self._open_stream(job_id, last_id)) as events:
                    async for event in events:
                        if event.type == _OVER:
                            return
                        if event.type == _OPENED:
                            unopened = 0
                            if is_lost:
                                is_lost = False
                                yield JobEvent("", FOUND, {})
                            continue
                        last_id, failures = event.id or last_id, 0
                        yield event
                        if event.type in TERMINAL_STATES:
                            return
            except (NotReady, RateLimited) as error:
                logger.info("events of job %s wait: %s", job_id, error)
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures, unopened = failures + 1, unopened + 1
            if unopened >= _LOST_AFTER and not is_lost:
                is_lost = True
                yield JobEvent("", LOST, {})

    async def _open_stream(self, job_id: str, last_event_id: str) -> AsyncGenerator[JobEvent]:
        headers = _headers() | stream_headers(last_event_id)
        timeout = httpx.Timeout(EVENT_SILENCE_S, connect=_CONNECT_S)
        path = f"/v1/jobs/{_segment(job_id)}/events"
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code == HTTPStatus.NO_CONTENT:
                    yield JobEvent("", _OVER, {})
                    return
                if answer.status_code != HTTPStatus.OK:
                    await answer.aread()
                    raise _error(answer)
                yield JobEvent("", _OPENED, {})
                async for event in httpx_sse.EventSource(answer).aiter_sse():
                    data = event.json() if event.data else {}
                    yield JobEvent(event.id, event.event, data)
        except (httpx.TransportError, httpx_sse.SSEError, ValueError) as error:
            raise NotReady("the stream of events broke") from error

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await self._send(method, path, **options)
        try:
            body: dict[str, Any] = answer.json()
        except ValueError as error:
            raise NotReady("the service did not answer as it should") from error
        return body

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline_s = time.monotonic() + self._budget_s
        try:
            async with asyncio.timeout(self._budget_s):
                return await self._send_again_and_again(method, path, options, deadline_s)
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error

    async def _send_again_and_again(
        self, method: str, path: str, options: dict[str, Any], deadline_s: float
    ) -> httpx.Response:
        for pause_s in _PAUSES_S:
            try:
                return await self._send_once(method, path, options)
            except NotReady as error:
                if time.monotonic() + pause_s >= deadline_s:
                    raise
                logger.info("%s %s again in %g s: %s", method, path, pause_s, error)
            await asyncio.sleep(pause_s)
        return await self._send_once(method, path, options)

    async def _send_once(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, headers=_headers(), **options)
        except httpx.TransportError as error:
            raise NotReady("the service does not answer") from error
        if answer.is_error:
            raise _error(answer)
        return answer


def _headers() -> dict[str, str]:
    reference = current_reference()
    return {"x-request-id": reference} if reference else {}


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _segment(value: str) -> str:
    """Return an id as a part of a path; refuse what would reach another route."""
    if not is_id(value):
        raise NotFound(f"{value[:64]!r} is not an id")
    return value


def _error(answer: httpx.Response) -> CascadeError:
    try:
        error = from_dict(answer.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return NotReady(f"the service answered {answer.status_code}, but not in its own way")
    if isinstance(error, RateLimited):
        after_s = answer.headers.get("retry-after", "1")
        return RateLimited(error.message, error.field, float(after_s) if after_s.isdigit() else 1.0)
    if answer.status_code in RETRYABLE_STATUSES and not isinstance(error, NotReady):
        return NotReady(error.message)
    return error
