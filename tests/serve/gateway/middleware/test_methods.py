"""HEAD, ``Allow`` and what other sites' pages may do, on every route."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import openai
import pytest
import pytest_asyncio
from fastapi import FastAPI

from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.settings import Settings
from tests.limits import HANG_S
from tests.serve.attacker import ENDLESS, in_our_form, make_things, routes
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.live_server import Server
from tests.serve.served import changed

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
SITE = "https://app.example"
OF_ITS_OWN_MOMENT = {"x-request-id", "date", "etag"}


async def test_head_is_answered_as_get_without_a_body(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    asked = [route for route in routes(app) if route not in ENDLESS]
    paths = [path.format(**things) for method, path in asked if method == "GET"]
    for path in [*paths, "/v1/images/unknown", "/docs/assets/swagger-ui.css"]:
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers.keys() - OF_ITS_OWN_MOMENT == get.headers.keys() - OF_ITS_OWN_MOMENT


async def test_head_of_an_endless_stream_ends_and_the_connection_goes_on(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    job_id = (await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    with Server(app) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=HANG_S) as http:
            for path in (f"/v1/jobs/{job_id}/events", "/v1/events"):
                answer = await http.head(path)
                assert answer.headers["content-type"].startswith("text/event-stream")
            assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert app.state.services.stream_limiter.count == 0


async def test_a_wrong_method_is_told_all_right_ones_of_the_address(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    taken: dict[str, set[str]] = {}
    for method, path in routes(app):
        taken.setdefault(path.format(**things), set()).add(method)
    for path, methods in taken.items():
        shown = methods | ({"HEAD"} if "GET" in methods else set())
        for method in METHODS - shown:
            answer = await client.request(method, path)
            assert (answer.status_code, method) == (405, method), path
            assert set(answer.headers["allow"].split(", ")) == shown, path
            if method != "HEAD":
                assert in_our_form(answer)["code"] == "method_not_allowed"


@pytest.mark.parametrize("size", [10, 200_000])
async def test_edits_are_not_there_whatever_the_size_of_the_picture(
    app: FastAPI, size: int
) -> None:
    with Server(app) as server:
        url = f"{server.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            with pytest.raises(openai.NotFoundError, match="variations"):
                await client.images.edit(image=("a.png", b"x" * size, "image/png"), prompt="x")


async def test_a_large_body_for_no_address_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/unknown", content=b"x" * 200_000)
    assert (answer.status_code, in_our_form(answer)["code"]) == (404, "not_found")


@pytest_asyncio.fixture
async def open_to_a_site(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that names a site."""
    settings = Settings(
        data_dir=services.settings.data_dir, cors_origins=f"{SITE}, http://localhost:3000"
    )
    transport = httpx.ASGITransport(create_app(changed(services, settings=settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_a_named_sites_preflight_is_answered_without_a_key(
    open_to_a_site: httpx.AsyncClient, bearer: Bearer
) -> None:
    bearer("read")
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-a, prefer",
    }
    for site in (SITE, "http://localhost:3000"):
        answer = await open_to_a_site.options("/v1/jobs", headers=asked | {"origin": site})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == site
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "x-a, prefer" in answer.headers["access-control-allow-headers"]
        assert len(answer.headers.get_list("x-request-id")) == 1


async def test_a_named_site_can_read_answers_and_errors_and_never_sends_cookies(
    open_to_a_site: httpx.AsyncClient, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bearer("read", "create") | {"origin": SITE}
    answers = [
        await open_to_a_site.get("/v1/jobs", headers=key),
        await open_to_a_site.get("/v1/jobs", headers={"origin": SITE}),
        await open_to_a_site.get("/v1/unknown", headers=key),
        await open_to_a_site.put("/v1/jobs", headers=key),
        await open_to_a_site.post("/v1/jobs", content=b"x" * 3_000_000, headers=key),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 413]
    monkeypatch.setattr("serve.gateway.routes.health.TERMINAL_STATES", None)
    answers.append(await open_to_a_site.get("/v1/status", headers=key))
    assert answers[-1].status_code == 500
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == SITE
        shown = answer.headers["access-control-expose-headers"]
        ids = {"x-image-id", "x-job-id", "x-latent-id", "x-request-id"}
        assert ids <= set(shown.split(", "))
        assert "access-control-allow-credentials" not in answer.headers


async def test_an_answer_that_a_browser_keeps_is_not_taken_for_one_to_a_named_sites_script(
    open_to_a_site: httpx.AsyncClient, bearer: Bearer
) -> None:
    key = bearer("read")
    for headers in (key, key | {"origin": SITE}):
        assert (await open_to_a_site.get("/v1/jobs", headers=headers)).headers["vary"] == "Origin"


async def test_without_keys_a_named_site_is_refused(open_to_a_site: httpx.AsyncClient) -> None:
    answer = await open_to_a_site.get("/v1/jobs", headers={"origin": SITE})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == SITE


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://app.example", SITE + ":1"]
)
async def test_other_sites_get_no_permission(
    open_to_a_site: httpx.AsyncClient, client: httpx.AsyncClient, bearer: Bearer, origin: str
) -> None:
    headers = bearer("read") | {"origin": origin, "access-control-request-method": "GET"}
    for service, site in ((open_to_a_site, origin), (client, SITE)):
        for method in ("OPTIONS", "GET"):
            answer = await service.request(method, "/v1/jobs", headers=headers | {"origin": site})
            assert not [name for name in answer.headers if name.startswith("access-control-")]
