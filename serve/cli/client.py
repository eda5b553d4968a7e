"""A blocking client of the HTTP API; every failure becomes one sentence and an exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import httpx_sse

from cascade_core.errors import SettingsInvalid
from cascade_core.families.operation_info import OperationInfo, operations_in
from cascade_core.families.stage_info import StageInfo, stages_of
from cascade_core.http_client import (
    EVENT_SILENCE_S,
    RETRYABLE_STATUSES,
    is_id,
    stream_headers,
)
from cascade_core.service_url import (
    NO_SOCKS,
    SOCKS_REMEDY,
    checked_url,
    proxy_of,
    without_user,
)
from serve.cli.output import CliError, ExitCode
from serve.local.start_marker import WAIT_FOR_START, is_starting, starting

_TIMEOUT_S = 30.0
_KEY = re.compile(r"[!-~]*")


class ApiError(CliError):
    """The server answered with an error.

    Args:
        message: the server's sentence.
        exit_code: how the process ends.
        remedy: what to do about it.
        status: the HTTP status.
    """

    def __init__(self, message: str, exit_code: ExitCode, remedy: str, status: int) -> None:
        super().__init__(message, exit_code, remedy)
        self.status = status


class Unreachable(CliError):
    """Nothing answers at the address, or not yet; a later try may succeed."""


class StreamBroken(Exception):
    """The event stream ended before the job did."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a job: its id for resuming, its type and its data."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture's bytes and media type."""

    data: bytes
    media_type: str


class ServiceClient:
    """A connection to one service; use it in a ``with`` block.

    Args:
        url: where it answers, for example ``http://127.0.0.1:8000``.
        api_key: sent as bearer token; empty: ``CASCADE_API_KEY``.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        try:
            address = checked_url(url)
        except SettingsInvalid as error:
            raise CliError(error.message) from error
        self.url = without_user(address)
        self._proxy = proxy_of(address)
        key = (api_key or os.environ.get("CASCADE_API_KEY", "")).strip()
        if not _KEY.fullmatch(key):
            raise CliError("CASCADE_API_KEY is not an API key", remedy="copy it again, whole")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # httpx uses no proxy for a transport that is given to it.
        transport = None if self._proxy else httpx.HTTPTransport()
        try:
            self._http = httpx.Client(
                base_url=address, headers=headers, timeout=_TIMEOUT_S, transport=transport
            )
        except ImportError as error:  # httpx's SOCKS support is not installed
            raise CliError(f"{self._proxy}: {NO_SOCKS}", remedy=SOCKS_REMEDY) from error
        except (httpx.InvalidURL, ValueError) as error:
            about = f"the proxy {self._proxy}" if self._proxy else self.url
            raise CliError(f"{about} is not an address: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def create_job(self, body: dict[str, object]) -> dict[str, Any]:
        """Submit a job and return it as accepted."""
        headers = {"prefer": "respond-async"}
        return self._json("POST", "/v1/jobs", json=body, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._json("GET", f"/v1/jobs/{path_segment(job_id)}")

    def jobs(self, state: str | None, limit: int) -> list[dict[str, Any]]:
        """Return the newest jobs, at most ``limit``."""
        params = {"limit": str(limit)} | ({"state": state} if state else {})
        body = self._json("GET", "/v1/jobs", params=params)
        return list(body["jobs"])

    def library(self, words: str, cursor: str, limit: int) -> dict[str, Any]:
        """Return a page of the pictures that a search finds."""
        params = {"q": words, "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return self._json("GET", "/v1/library", params=params)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job and return it; one that has ended stays as it is."""
        try:
            self._send("DELETE", f"/v1/jobs/{path_segment(job_id)}")
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        return self.job(job_id)

    def continue_job(self, job_id: str, body: dict[str, object]) -> dict[str, Any]:
        """Finish chosen images of a job that waits, and return the job."""
        return self._json("POST", f"/v1/jobs/{path_segment(job_id)}/continue", json=body)

    def redo_job(self, job_id: str, indices: list[int]) -> dict[str, Any]:
        """Have images of a job that waits composed anew, and return the job."""
        url, body = f"/v1/jobs/{path_segment(job_id)}/redo", {"indices": indices}
        return self._json("POST", url, json=body)

    def upload(self, name: str, data: bytes) -> str:
        """Store a picture file to start images from, and return the upload's id."""
        return str(self._json("POST", "/v1/uploads", files={"file": (name, data)})["id"])

    def verify(self, name: str, data: bytes) -> dict[str, Any]:
        """Return what a picture file says of its origin, and whether that holds."""
        return self._json("POST", "/v1/verify", files={"file": (name, data)})

    def preview(self, path: str) -> bytes:
        """Return the WebP bytes of a preview, by the path in a job's JSON."""
        return self._send("GET", path).content

    def image(self, image_id: str) -> ImageFile:
        """Return a picture's original bytes."""
        answer = self._send("GET", f"/v1/images/{path_segment(image_id)}")
        return ImageFile(answer.content, answer.headers.get("content-type", ""))

    def latent_of_image(self, image_id: str) -> str | None:
        """Return the latent a picture was decoded from; None if there is no such picture."""
        try:
            with self._stream(f"/v1/images/{path_segment(image_id)}") as answer:
                latent_id: str | None = answer.headers.get("x-latent-id")
                return latent_id
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def compare(self, body: dict[str, object]) -> dict[str, Any]:
        """Submit a comparison and return it as accepted."""
        return self._json("POST", "/v1/comparisons", json=body)

    def comparison(self, comparison_id: str) -> dict[str, Any]:
        """Return a comparison."""
        return self._json("GET", f"/v1/comparisons/{path_segment(comparison_id)}")

    def models(self) -> dict[str, Any]:
        """Return the descriptions of the service's models, the default first."""
        return self._json("GET", "/v1/models")

    def model(self, name: str | None) -> dict[str, Any]:
        """Return the description of a model; None means the default.

        Raises:
            CliError: the service has no such model; names those that it has.
        """
        return _found(self.models()["data"], name)

    def stages(self, model: str | None = None) -> tuple[StageInfo, ...]:
        """Return the stages of a model, as :meth:`model`; empty if an older service lists none."""
        return stages_of(self.model(model))

    def operations(self, model: str | None = None) -> tuple[OperationInfo, ...]:
        """Return what a model can do, as :meth:`model`; empty if an older service does not say."""
        return operations_in(self.model(model))

    def operations_on_latent(self, model: str | None) -> tuple[OperationInfo, ...]:
        """Return what can be done with a latent.

        Args:
            model: that the user names; None: the one that made the latent, which is not known here.

        Returns:
            What that model can do; empty if it may be one of several, and as :meth:`operations`.
        """
        found = self.models()["data"]
        if model is None and len(found) > 1:
            return ()
        return operations_in(_found(found, model))

    def takes_uploads(self, model: str | None = None) -> bool:
        """Return True if a model can start from an upload, or an older service runs it."""
        return bool(self.model(model).get("takes_uploads", True))

    def status(self) -> dict[str, Any]:
        """Return replicas, open jobs and how the jobs of the last hour ended."""
        return self._json("GET", "/v1/status")

    def check_ready(self) -> None:
        """Check that the service is ready.

        Raises:
            CliError: it is not; says why.
        """
        self._send("GET", "/readyz")

    def unready_reason(self) -> str:
        """Return why the service is not ready; empty when it is."""
        try:
            self.check_ready()
        except CliError as error:
            return error.message
        return ""

    def events(self, job_id: str, last_event_id: str) -> Iterator[ServerEvent]:
        """Yield a job's events after ``last_event_id``.

        Raises:
            StreamBroken: the connection broke or fell silent.
        """
        path = f"/v1/jobs/{path_segment(job_id)}/events"
        try:
            with self._stream(path, stream_headers(last_event_id)) as answer:
                for event in httpx_sse.EventSource(answer).iter_sse():
                    data = event.json() if event.data else {}
                    yield ServerEvent(event.id, event.event, data)
        except (httpx.TransportError, httpx_sse.SSEError, ValueError, Unreachable) as error:
            raise StreamBroken(str(error)) from error

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._send(method, path, **options)
        try:
            body: dict[str, Any] = answer.json()
        except ValueError as error:
            raise self._foreign_answer(answer) from error
        return body

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise self._api_error(answer)
        return answer

    @contextmanager
    def _stream(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        body: dict[str, object] | None = None,
    ) -> Iterator[httpx.Response]:
        """Send a GET request, or a POST request with a body; yields the answer as it comes."""
        timeout = httpx.Timeout(_TIMEOUT_S, read=EVENT_SILENCE_S)
        method = "GET" if body is None else "POST"
        request = self._http.build_request(
            method, path, headers=headers, timeout=timeout, json=body
        )
        try:
            answer = self._http.send(request, stream=True)
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        try:
            if answer.is_error:
                answer.read()
                raise self._api_error(answer)
            yield answer
        finally:
            answer.close()

    def _unreachable(self, error: Exception) -> Unreachable:
        if is_starting(self.url):
            return self._starting()
        message = f"no server answers at {self.url}"
        remedy = "cascade up (or set CASCADE_URL; generate and vary also work with --local)"
        if isinstance(error, httpx.TimeoutException):
            message = f"the server at {self.url} did not answer in {_TIMEOUT_S:g} s"
            remedy = "again later; if it stays so, check CASCADE_URL, or restart the server"
        if self._proxy:
            remedy = f"set NO_PROXY={urlsplit(self.url).hostname} to go without the proxy"
        return Unreachable(message + self._proxy_text(), ExitCode.UNREACHABLE, remedy)

    def _starting(self) -> Unreachable:
        return Unreachable(starting(self.url), ExitCode.UNREACHABLE, WAIT_FOR_START)

    def _proxy_text(self) -> str:
        return f" through the proxy {self._proxy}" if self._proxy else ""

    def _unauthorized(self, message: str) -> ApiError:
        remedy = "set CASCADE_API_KEY; on the server, cascade keys create NAME makes a key"
        if "authorization" in self._http.headers:
            message = f"{self.url} does not know this API key, or it was revoked"
            remedy = "check CASCADE_API_KEY, or ask the operator of the server for a new key"
        return ApiError(message, ExitCode.BAD_USAGE, remedy, HTTPStatus.UNAUTHORIZED)

    def _foreign_answer(self, answer: httpx.Response) -> CliError:
        if is_starting(self.url):
            return self._starting()
        message = f"{self.url} answered {answer.status_code}, but not as Cascade Serve would"
        return Unreachable(message + self._proxy_text(), ExitCode.UNREACHABLE, "check CASCADE_URL")

    def _api_error(self, answer: httpx.Response) -> CliError:
        try:
            error = answer.json()["error"]
            message = str(error["message"])
        except (ValueError, KeyError, TypeError):
            return self._foreign_answer(answer)
        status = answer.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            return self._unauthorized(message)
        if status in RETRYABLE_STATUSES:
            return Unreachable(message, ExitCode.UNREACHABLE, "cascade doctor, or wait")
        if answer.is_server_error:
            remedy = f"the server's log, request id {error.get('request_id', 'unknown')}"
            return ApiError(message, ExitCode.FAILED, remedy, status)
        return ApiError(message, ExitCode.BAD_USAGE, "", status)


def _found(models: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    """Return one of a service's models; raises as :meth:`ServiceClient.model`."""
    if name is None:
        return models[0]
    found = next((model for model in models if model["id"] == name), None)
    if found is None:
        known = ", ".join(repr(model["id"]) for model in models)
        raise CliError(f"there is no model {name!r}; the service has {known}")
    return found


def path_segment(value: str) -> str:
    """Return an id as a part of a path; refuse what would reach another route."""
    if not is_id(value):
        raise CliError(f"{value!r} is not an id")
    return value
