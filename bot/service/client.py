"""The client of the service's HTTP API: typed requests, failures as `cascade_core.errors`.

Every request is safe to repeat, because the bot chooses the ids of jobs. The client therefore
retries requests that fail on the way, within a time budget.
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
    Comparison,
    Job,
    JobEvent,
    JobPage,
    ModelInfo,
    ServiceStatus,
    Vote,
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
from cascade_core.job_states import RESTING_STATES, JobState
from cascade_core.service_url import NO_SOCKS, SOCKS_REMEDY, proxy_of

_PAUSES_S = (0.25, 1.0, 2.0, 4.0)
_CONNECT_S = 5.0
_OVER, _OPENED = "over", "opened"
_LOST_AFTER = 2
"""Failed attempts in a row; a connection that ends normally is open again after one attempt."""

logger = logging.getLogger(__name__)


class CascadeClient:
    """A client of one service; close it with :meth:`close`.

    All methods raise errors of :mod:`cascade_core.errors`; NotReady means no answer in time.

    Args:
        url: the service's base URL, for example ``http://127.0.0.1:8000``.
        api_key: a trusted key; empty for a service without keys.
        budget_s: seconds that a request may take, with its retries.
        transport: carries the requests; None: the network.

    Attributes:
        known_models: the service's models when they were last asked for, the default first; empty
            before.

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
        self.known_models: tuple[ModelInfo, ...] = ()
        self._budget_s = budget_s
        # Every live job holds a stream open, so the number of connections has no limit.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        if proxy := proxy_of(url):
            logger.info("requests to the service go through the proxy %s", proxy)
        else:
            # httpx uses no proxy for a transport that is given to it.
            transport = transport or httpx.AsyncHTTPTransport(limits=limits)
        try:
            self._http = httpx.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(budget_s, connect=_CONNECT_S),
                limits=limits,
                transport=transport,
            )
        except ImportError as error:  # httpx's SOCKS support is not installed
            raise SettingsInvalid(f"{proxy}: {NO_SOCKS}: {SOCKS_REMEDY}") from error
        except ValueError as error:
            raise SettingsInvalid(f"the proxy {proxy} is not an address: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def create_job(
        self, request: Mapping[str, Any], *, job_id: str, user: str, client_state: dict[str, Any]
    ) -> Job:
        """Create a job for a user; ``job_id`` is a new ULID."""
        body = {**request, "id": job_id, "user": user, "client_state": client_state}
        return Job.from_json(await self.send_json("POST", "/v1/jobs", json=body))

    async def compare(
        self, request: Mapping[str, Any], *, comparison_id: str, user: str, state: dict[str, Any]
    ) -> Comparison:
        """Create a comparison for a user; ``state``: the client state of its first job."""
        body = {**request, "id": comparison_id, "user": user, "client_state": state}
        return Comparison.from_json(await self.send_json("POST", "/v1/comparisons", json=body))

    async def comparison(self, comparison_id: str) -> Comparison:
        """Return a comparison."""
        path = f"/v1/comparisons/{path_segment(comparison_id)}"
        return Comparison.from_json(await self.send_json("GET", path))

    async def vote(self, comparison_id: str, pair: int, choice: str, user: str) -> Vote:
        """Vote for a user, or return the vote that the user gave before.

        Raises:
            Conflict: a picture of the pair is not there.
        """
        path = f"/v1/comparisons/{path_segment(comparison_id)}/votes"
        body = {"pair": pair, "choice": choice, "user": user}
        return Vote.from_json(await self.send_json("POST", path, json=body))

    async def job(self, job_id: str, user: str | None = None) -> Job:
        """Return a job; with ``user``, only if it belongs to that user."""
        path = f"/v1/jobs/{path_segment(job_id)}"
        return Job.from_json(await self.send_json("GET", path, params=_given(user=user)))

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
        body = await self.send_json("GET", "/v1/jobs", params=params)
        return JobPage(tuple(map(Job.from_json, body["jobs"])), body["next_cursor"])

    async def cancel(self, job_id: str, user: str | None = None) -> Job:
        """Cancel a job and return it; a job that has ended does not change."""
        path = f"/v1/jobs/{path_segment(job_id)}"
        return Job.from_json(await self.send_json("DELETE", path, params=_given(user=user)))

    async def set_client_state(
        self, job_id: str, state: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        """Replace a job's client state by compare-and-set.

        Raises:
            Conflict: the stored state is not ``expected``.
        """
        body = {"client_state": state, "expected": expected}
        try:
            await self.send_json("PATCH", f"/v1/jobs/{path_segment(job_id)}", json=body)
        except Conflict:
            # A retried request may conflict with its own first attempt.
            if (await self.job(job_id)).client_state != state:
                raise

    async def upload(self, data: bytes, user: str) -> str:
        """Store a picture file for a user to start from, and return the upload's id.

        The same pixels again are the same upload.
        """
        form = {"files": {"file": ("picture", data)}, "data": {"user": user}}
        return str((await self.send_json("POST", "/v1/uploads", **form))["id"])

    async def image(self, image_id: str, user: str | None = None) -> bytes:
        """Return a picture's original PNG bytes."""
        path = f"/v1/images/{path_segment(image_id)}"
        return (await self._send("GET", path, params=_given(user=user))).content

    async def job_of_image(self, image_id: str, user: str | None = None) -> str:
        """Return the id of the job that made a picture."""
        path = f"/v1/images/{path_segment(image_id)}"
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
        """Delete a picture and its latent; does nothing if it is deleted already."""
        await self._send("DELETE", f"/v1/images/{path_segment(image_id)}", params=_given(user=user))

    async def delete_latent(self, latent_id: str, user: str | None = None) -> None:
        """Delete a composition that became no picture; does nothing if it is deleted already.

        Raises:
            Conflict: its job has not ended, or it has become a picture.
        """
        await self._send(
            "DELETE", f"/v1/latents/{path_segment(latent_id)}", params=_given(user=user)
        )

    async def preview(self, path: str) -> bytes:
        """Return the WebP bytes of a preview, by the path in an event."""
        return (await self._send("GET", path)).content

    async def share(self, image_id: str, expires_in_s: int) -> str:
        """Return a link to a picture that works without a key until it expires."""
        path, body = f"/v1/images/{path_segment(image_id)}/share", {"expires_in_s": expires_in_s}
        return str((await self.send_json("POST", path, json=body))["url"])

    async def preference(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        """Return a stored preference; None if there is none of this name."""
        path = f"/v1/preferences/{path_segment(name)}"
        try:
            value: dict[str, Any] = (await self.send_json("GET", path, params=_given(user=user)))[
                "value"
            ]
        except NotFound:
            return None
        return value

    async def set_preference(
        self, name: str, value: dict[str, Any], user: str | None = None
    ) -> None:
        """Store a preference under a name."""
        path, body = f"/v1/preferences/{path_segment(name)}", {"value": value}
        await self.send_json("PUT", path, params=_given(user=user), json=body)

    async def delete_preference(self, name: str) -> None:
        """Delete a preference."""
        await self._send("DELETE", f"/v1/preferences/{path_segment(name)}")

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return the service's models, the default first, and keep them as ``known_models``."""
        body = await self.send_json("GET", "/v1/models")
        self.known_models = tuple(map(ModelInfo.from_json, body["data"]))
        return self.known_models

    async def status(self) -> ServiceStatus:
        """Return how busy the service is."""
        return ServiceStatus.from_json(await self.send_json("GET", "/v1/status"))

    async def check(self) -> None:
        """Check that the service would run a job now.

        Raises:
            NotReady: it would not; the message says what is missing.
        """
        await self._send_once("GET", "/readyz", {})

    async def events(self, job_id: str) -> AsyncGenerator[JobEvent]:
        """Yield a job's events from the first to the last; reconnects by itself.

        When the service stops answering, the stream yields one event ``LOST``, and one ``FOUND``
        when it answers again. The service may have deleted the events of an old job; the stream is
        then empty.

        Raises:
            CascadeError: the service refuses the request, so a retry would not help.
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
                        if event.type in RESTING_STATES:
                            return
            except (NotReady, RateLimited) as error:
                logger.info("the events of job %s are not available: %s", job_id, error)
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures, unopened = failures + 1, unopened + 1
            if unopened >= _LOST_AFTER and not is_lost:
                is_lost = True
                yield JobEvent("", LOST, {})

    async def _open_stream(self, job_id: str, last_event_id: str) -> AsyncGenerator[JobEvent]:
        headers = _headers() | stream_headers(last_event_id)
        timeout = httpx.Timeout(EVENT_SILENCE_S, connect=_CONNECT_S)
        path = f"/v1/jobs/{path_segment(job_id)}/events"
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
            raise NotReady("the event stream broke") from error

    async def send_json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request that is safe to repeat, and return the JSON of its answer."""
        answer = await self._send(method, path, **options)
        try:
            body: dict[str, Any] = answer.json()
        except ValueError as error:
            raise NotReady("the service's answer is not valid JSON") from error
        return body

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline_s = time.monotonic() + self._budget_s
        try:
            async with asyncio.timeout(self._budget_s):
                return await self._send_with_retries(method, path, options, deadline_s)
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error

    async def _send_with_retries(
        self, method: str, path: str, options: dict[str, Any], deadline_s: float
    ) -> httpx.Response:
        for pause_s in _PAUSES_S:
            try:
                return await self._send_once(method, path, options)
            except NotReady as error:
                if time.monotonic() + pause_s >= deadline_s:
                    raise
                logger.info("retrying %s %s in %g s: %s", method, path, pause_s, error)
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


def path_segment(value: str) -> str:
    """Return an id as a part of a path; refuse what would reach another route."""
    if not is_id(value):
        raise NotFound(f"{value[:64]!r} is not an id")
    return value


def _error(answer: httpx.Response) -> CascadeError:
    try:
        error = from_dict(answer.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return NotReady(f"the service answered {answer.status_code} without an error of its own")
    if isinstance(error, RateLimited):
        after_s = answer.headers.get("retry-after", "1")
        return RateLimited(error.message, error.field, float(after_s) if after_s.isdigit() else 1.0)
    if answer.status_code in RETRYABLE_STATUSES and not isinstance(error, NotReady):
        return NotReady(error.message)
    return error
