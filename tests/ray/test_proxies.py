"""The API's streams through both of Ray Serve's proxies: its own, in Python, and HAProxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import psutil
import pytest
from PIL import Image

from serve.settings import load_settings
from serve.storage.database import Database
from tests import raw_http
from tests.limits import HANG_S
from tests.private_postgres import PrivatePostgres, find_binaries
from tests.raw_http import BODIES, UPGRADES
from tests.ray.client import Event, ServiceClient, free_port
from tests.ray.starting import cascade_up
from tests.s3_server import new_bucket

PROMPT = "a large red circle in the center on a white background"
T = TypeVar("T")
SLOW = {"steps": 100, "decoder_steps": 100}


class Streams:
    """What holds whichever proxy is in front of the service."""

    def test_events_come_while_the_job_runs_and_go_on_where_a_client_left(
        self, proxied: ServiceClient
    ) -> None:
        job_id = proxied.create(prompt=PROMPT, seed=1, width=512, height=512, **SLOW)["id"]
        with closing(progress(proxied, job_id)) as events:
            seen = list(islice(events, 3))
        assert proxied.job(job_id)["state"] == "running"
        with closing(progress(proxied, job_id, after=seen[0].id)) as events:
            assert list(islice(events, 3))[:2] == seen[1:]
        proxied.http.delete(f"/v1/jobs/{job_id}")
        assert proxied.finished(job_id)["state"] == "cancelled"

    @pytest.mark.parametrize(
        ("path", "more", "headers"),
        [
            ("/v1/jobs", {"width": 512, "height": 512}, {"prefer": "wait=100"}),
            ("/v1/images/generations", {"size": "512x512", "stream": True}, {}),
        ],
        ids=["wait", "stream"],
    )
    async def test_a_client_that_leaves_an_answer_it_waits_for_cancels_its_job(
        self, proxied: ServiceClient, path: str, more: dict[str, Any], headers: dict[str, str]
    ) -> None:
        known = {job["id"] for job in proxied.http.get("/v1/jobs").json()["jobs"]}
        body = {"prompt": PROMPT, **SLOW, **more}
        headers = {**proxied.http.headers, **headers}
        async with httpx.AsyncClient(base_url=proxied.http.base_url, timeout=HANG_S) as http:
            posting = asyncio.create_task(http.post(path, json=body, headers=headers))
            [job_id] = await asyncio.to_thread(proxied.wait_for_new_job, known)
            await asyncio.to_thread(proxied.until, job_id, "progress")
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
            job = await asyncio.to_thread(proxied.finished, job_id)
        assert job["state"] == "cancelled"

    def test_a_waiting_client_gets_the_finished_job_and_then_its_picture(
        self, proxied: ServiceClient
    ) -> None:
        body = {"prompt": PROMPT, "seed": 1, "steps": 4}
        answer = proxied.http.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
        assert answer.status_code == 200
        assert answer.json()["state"] == "succeeded"
        [image] = answer.json()["images"]
        picture = proxied.http.get(f"/v1/images/{image['id']}")
        assert Image.open(BytesIO(picture.content)).size == (image["width"], image["height"])

    @pytest.mark.parametrize("upgrade", UPGRADES)
    def test_a_request_that_asks_for_another_protocol_is_one_request(
        self, proxied: ServiceClient, upgrade: str
    ) -> None:
        headers = UPGRADES[upgrade] + header_lines(proxied)
        for *request, word in BODIES:
            for framing in ("length", "chunked"):
                for waits in (False, True):
                    refused, healthy = raw_http.upgrade_answers(
                        proxied.http.base_url.port, tuple(request), headers, framing, waits=waits
                    )
                    assert refused.status == 400, (request, framing, waits)
                    assert word in refused.error["message"]
                    assert healthy.body == b'{"status":"ok"}'

    @pytest.mark.parametrize("upgrade", UPGRADES)
    def test_a_body_that_looks_like_a_request_is_never_run(
        self, proxied: ServiceClient, upgrade: str
    ) -> None:
        hidden = f"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n{header_lines(proxied)}\r\n"
        request = ("POST", "/v1/jobs", "application/json", hidden)
        headers = UPGRADES[upgrade] + header_lines(proxied)
        refused, healthy = raw_http.upgrade_answers(
            proxied.http.base_url.port, request, headers, "length", waits=True
        )
        assert (refused.status, healthy.body) == (400, b'{"status":"ok"}')

    @pytest.mark.parametrize("path", ["/v1/models", "/v1/unknown", "/healthz"])
    def test_an_answer_has_one_request_id(self, proxied: ServiceClient, path: str) -> None:
        for sent in ({}, {"x-request-id": "mine"}, {"x-request-id": "not; harmless"}):
            answer = proxied.http.get(path, headers=sent)
            (request_id,) = answer.headers.get_list("x-request-id")
            assert (request_id == "mine") == (sent == {"x-request-id": "mine"})
            assert "harmless" not in request_id
            if not answer.is_success:
                assert answer.json()["error"]["request_id"] == request_id

    def test_killed_proxies_and_gateways_never_deny_a_route_that_exists(
        self, proxied: ServiceClient
    ) -> None:
        port, url = proxied.http.base_url.port, f"http://127.0.0.1:{proxied.http.base_url.port}/v1"
        key = proxied.http.headers.get("authorization", "Bearer any").removeprefix("Bearer ")
        with openai.OpenAI(base_url=url, api_key=key, max_retries=100) as client:
            for find in (listener, proxy, gateway):
                process = repeated(find, port)
                process.kill()
                process.wait(HANG_S)
                # As fast as it gets, so that no moment of the start is missed.
                for answer in answers_until_well(proxied):
                    assert answer.status_code in (502, 503), answer.text
                    assert answer.headers["retry-after"]
                    assert answer.json()["error"]["code"] == "not_ready"
                assert client.models.retrieve("demo").id == "demo"

    def test_its_processes_may_open_as_many_files_as_the_machine_allows(
        self, proxied: ServiceClient
    ) -> None:
        for find in (proxy, gateway):
            soft, hard = file_limits(find, proxied.http.base_url.port)
            assert soft == hard

    def test_rays_routes_are_closed_and_its_health_is_open_to_all(
        self, proxied: ServiceClient
    ) -> None:
        assert proxied.http.get("/-/healthz").status_code == 200
        answer = proxied.http.get("/-/routes")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"

    def test_a_client_cannot_set_rays_time_limit(self, proxied: ServiceClient) -> None:
        answer = proxied.http.get("/readyz", headers={"x-request-timeout-seconds": "0.000001"})
        assert answer.status_code == 200


def file_limits(find: Callable[[int], psutil.Process], port: int) -> tuple[int, int]:
    """The open files that the process may have, soft and hard."""

    def look(port: int) -> tuple[int, int]:
        return find(port).rlimit(psutil.RLIMIT_NOFILE)

    return repeated(look, port)


def repeated(look: Callable[[int], T], port: int) -> T:
    """Look at the processes behind a port until the look meets one of each kind.

    HAProxy starts a new process when its configuration changes, and the old one ends: a process
    may be gone at the next look, and two may listen.
    """
    while True:
        with suppress(psutil.NoSuchProcess, ValueError):
            return look(port)


def listener(port: int) -> psutil.Process:
    """The process that clients reach: Ray's proxy, or HAProxy."""
    [found] = {
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    return psutil.Process(found)


def proxy(port: int) -> psutil.Process:
    """Ray's process that is the proxy, or has started HAProxy."""
    found = listener(port)
    return found.parents()[0] if found.name() == "haproxy" else found


def gateway(port: int) -> psutil.Process:
    """The gateway's replica behind this port."""
    [found] = [
        process
        for process in proxy(port).parents()[0].children()
        if "ServeReplica:cascade:Gateway" in " ".join(process.cmdline())
    ]
    return found


def answers_until_well(proxied: ServiceClient) -> Iterator[httpx.Response]:
    """Ask for a model again and again until it is shown; yields what was answered before."""
    while True:
        try:
            answer = proxied.http.get("/v1/models/demo")
        except httpx.TransportError:
            continue
        if answer.is_success:
            return
        yield answer


def header_lines(proxied: ServiceClient) -> str:
    """The client's key as lines of a request by hand."""
    key = proxied.http.headers.get("authorization")
    return f"Authorization: {key}\r\n" if key else ""


def progress(proxied: ServiceClient, job_id: str, after: int = 0) -> Iterator[Event]:
    return (event for event in proxied.events(job_id, after) if event.type == "progress")


class TestPythonProxy(Streams):
    @pytest.fixture
    def proxied(self, service: ServiceClient) -> ServiceClient:
        return service


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def behind_haproxy(
    data_dir: Path, s3_server: str, request: pytest.FixtureRequest
) -> Iterator[ServiceClient]:
    """The service as on several machines.

    It has HAProxy in front, where everybody needs an API key, S3 and, if it is installed,
    PostgreSQL.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASCADE_BLOB_URL", new_bucket(s3_server, patch))
        if find_binaries() is not None:
            postgres: PrivatePostgres = request.getfixturevalue("postgres")
            patch.setenv("CASCADE_DATABASE_URL", postgres.new_database())
            patch.setenv("CASCADE_DBOS_URL", postgres.new_database())
        patch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
        patch.setenv("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "0")
        with closing(Database(load_settings(data_dir=data_dir).database_url)) as database:
            database.create_tables()
            _, token = database.keys.create("tests", ["admin"])
        with cascade_up(data_dir, free_port()) as (_, service):
            service.http.headers["authorization"] = f"Bearer {token}"
            yield service


class TestHAProxy(Streams):
    @pytest.fixture
    def proxied(self, behind_haproxy: ServiceClient) -> ServiceClient:
        return behind_haproxy

    @pytest.mark.usefixtures("postgres")
    def test_with_postgresql_and_s3_nothing_is_kept_in_the_data_folder(
        self, behind_haproxy: ServiceClient, data_dir: Path
    ) -> None:
        service = behind_haproxy
        made = service.finished(service.create(prompt=PROMPT, seed=1)["id"])
        assert made["state"] == "succeeded", made["error"]
        latent_id = made["images"][0]["latent_id"]
        varied = service.create(kind="vary_details", latent_id=latent_id)
        varied = service.finished(varied["id"])
        assert varied["state"] == "succeeded", varied["error"]
        assert service.http.get(f"/v1/images/{varied['images'][0]['id']}").status_code == 200
        assert list(data_dir.rglob("*.db")) == list(data_dir.rglob("*.png")) == []

    def test_a_killed_service_leaves_no_haproxy_behind(self, behind_haproxy: ServiceClient) -> None:
        assert behind_haproxy.http.get("/healthz").is_success
        started = psutil.Process().children(recursive=True)
        haproxies = [process for process in started if process.name() == "haproxy"]
        [service] = [process for process in haproxies[0].parents() if "up" in process.cmdline()]
        service.kill()
        _, left = psutil.wait_procs(haproxies, 30)
        assert left == []
