"""What a page of another site tries on every route, with the cookie of a browser that signed in."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.storage.access.credentials import KeyStore
from tests.serve.api_calls import code
from tests.serve.attacker import (
    ENDLESS,
    OPEN_TO_ALL,
    PICTURE,
    body_for,
    in_our_form,
    make_things,
    routes,
)
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.auth.signed_in import PAGE, sign_in
from tests.serve.served import changed

PUBLIC = "https://studio.example"
FOREIGN = {
    "another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "another site's link or picture": {"sec-fetch-site": "cross-site"},
    "another port of this host": {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
    "a browser that sends no fetch metadata": {"origin": "http://localhost:3000"},
    "a sandboxed frame": {"origin": "null"},
    "a name that only begins with ours": {"origin": "http://localhost.evil.example"},
    "a name that points here (rebinding)": {"origin": "http://evil.example"},
    "a false claim": {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
}
SIMPLE_BODIES: list[dict[str, Any]] = [
    {"files": {"file": ("a.png", PICTURE, "image/png")}},
    {"files": {"image": ("a.png", PICTURE, "image/png")}},
    {"data": {"prompt": "x"}},
    {"content": b'{"prompt": "x", "a": "="}', "headers": {"content-type": "text/plain"}},
]
"""What a browser sends for another site's page without asking the service first."""


@pytest.fixture(autouse=True)
def _sessions_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)
    monkeypatch.setattr("serve.gateway.auth.key_cache.UNKNOWN_SESSION_CACHE_S", 0.0)


@pytest.fixture
def admin(keys: KeyStore) -> str:
    """The token of a key that may do everything."""
    return keys.create("root", ["admin"])[1]


def closed(app: FastAPI) -> list[tuple[str, str]]:
    found = [route for route in routes(app) if route not in OPEN_TO_ALL]
    assert len(found) >= 30
    return found


async def test_no_route_takes_the_cookie_from_another_page(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, admin: str
) -> None:
    """Of each kind of page in turn; one rule, tested alone in test_same_origin.py, judges all."""
    things = await make_things(client, fake_jobs, {"authorization": f"Bearer {admin}"})
    await sign_in(client, admin)
    for (method, path), (page, headers) in zip(closed(app), cycle(FOREIGN.items()), strict=False):
        answer = await client.request(
            method, path.format(**things), headers=headers, **body_for(method, path)
        )
        assert answer.status_code == 403, (method, path, page)
        assert in_our_form(answer)["code"] == "cross_origin"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
async def test_no_kind_of_other_page_makes_or_reads_anything(
    client: httpx.AsyncClient, admin: str, headers: dict[str, str]
) -> None:
    await sign_in(client, admin)
    for method, path in (("GET", "/v1/library"), ("POST", "/v1/jobs"), ("DELETE", "/v1/keys/x")):
        answer = await client.request(method, path, headers=headers, **body_for(method, path))
        assert (answer.status_code, code(answer)) == (403, "cross_origin")


async def test_what_changes_something_must_name_its_page(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, admin: str
) -> None:
    """An old browser, or a program with a stolen cookie, that sends neither header."""
    things = await make_things(client, fake_jobs, {"authorization": f"Bearer {admin}"})
    await sign_in(client, admin)
    for method, path in closed(app):
        if method == "GET":
            continue
        for headers in ({}, {"sec-fetch-site": "none"}):
            answer = await client.request(
                method, path.format(**things), headers=headers, **body_for(method, path)
            )
            assert (answer.status_code, code(answer)) == (403, "cross_origin"), path


@pytest.mark.parametrize("body", SIMPLE_BODIES, ids=["upload", "variation", "form", "plain text"])
async def test_no_form_of_another_site_is_read(
    app: FastAPI, client: httpx.AsyncClient, admin: str, body: dict[str, Any]
) -> None:
    await sign_in(client, admin)
    sent = body | {"headers": FOREIGN["another site"] | body.get("headers", {})}
    for method, path in closed(app):
        if method == "POST" and "{" not in path:
            answer = await client.post(path, **sent)
            assert (answer.status_code, code(answer)) == (403, "cross_origin"), path
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    assert len((await client.get("/v1/keys")).json()["keys"]) == 1


async def test_a_key_in_a_header_and_a_missing_cookie_are_judged_as_before(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    """No other site's page can send that header; without any sign-in a page learns nothing."""
    root = bearer("admin")
    other_site = FOREIGN["another site"]
    things = await make_things(client, fake_jobs, root)
    for method, path in closed(app):
        url, body = path.format(**things), body_for(method, path)
        stranger = await client.request(method, url, headers=other_site, **body)
        assert (stranger.status_code, code(stranger)) == (401, "unauthorized"), path
        if method == "GET" and (method, path) not in ENDLESS:
            known = await client.get(url, headers=root | other_site)
            assert known.status_code in (200, 204, 404), path


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io"])
async def test_a_name_that_is_pointed_here_has_no_cookie_and_opens_nothing(
    client: httpx.AsyncClient, admin: str, host: str
) -> None:
    """DNS rebinding makes the page and the service one origin, but not the page's cookies ours."""
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    for method, path in (("GET", "/v1/library"), ("POST", "/v1/jobs"), ("DELETE", "/v1/keys/x")):
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("host", "origin", "is_own"),
    [
        ("studio.example", "https://studio.example", True),
        ("10.0.0.5:8000", "https://studio.example", True),  # a proxy that changes the Host header
        ("studio.example", "http://studio.example", False),  # someone in the network plays it
        ("10.0.0.5:8000", "https://evil.example", False),
        ("studio.example", "https://studio.example:8443", False),
        ("studio.example", "https://studio.example@evil.example", False),
    ],
)
async def test_behind_a_proxy_the_public_address_says_which_page_is_ours(
    services: Services, admin: str, host: str, origin: str, is_own: bool
) -> None:
    settings = services.settings.model_copy(update={"public_url": PUBLIC})
    app = create_app(changed(services, settings=settings))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        token = (await sign_in(client, admin)).headers["set-cookie"].partition(";")[0]
        headers = {"cookie": token, "host": host, "origin": origin}
        answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert answer.status_code == (202 if is_own else 403)


async def test_a_page_that_may_call_the_api_by_key_may_not_use_the_cookie(
    services: Services, admin: str
) -> None:
    site = "https://app.example"
    settings = services.settings.model_copy(update={"cors_origins": site})
    app = create_app(changed(services, settings=settings))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        await sign_in(client, admin)
        headers = {"origin": site, "sec-fetch-site": "cross-site"}
        answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
        assert (answer.status_code, code(answer)) == (403, "cross_origin")
        assert "access-control-allow-credentials" not in answer.headers
        signing_in = await client.post("/v1/sessions", json={"key": admin}, headers=headers)
        assert (signing_in.status_code, code(signing_in)) == (403, "cross_origin")


async def test_the_page_itself_reaches_every_route(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, admin: str
) -> None:
    things = await make_things(client, fake_jobs, {"authorization": f"Bearer {admin}"})
    await sign_in(client, admin)
    for method, path in closed(app):
        if (method, path) in ENDLESS:
            continue
        answer = await client.request(
            method, path.format(**things), headers=PAGE, **body_for(method, path)
        )
        assert answer.status_code not in (401, 403), (method, path)
