"""Links to one image for people without a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from cascade_core.errors import Forbidden
from cascade_core.images.image_files import read_info
from serve.gateway import limits
from serve.gateway.auth.signed_links import Link, ShareLinks, end_all_links
from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


@pytest.fixture
def ann(bearer: Bearer) -> dict[str, str]:
    return bearer("create", "read")


async def make_image(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: dict[str, str]
) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    job_id: str = answer.json()["id"]
    await fake_jobs.run(job_id)
    return fake_jobs.images(job_id)[0].id


async def share(
    client: httpx.AsyncClient, headers: dict[str, str], image_id: str, **body: Any
) -> httpx.Response:
    return await client.post(f"/v1/images/{image_id}/share", json=body, headers=headers)


async def test_a_shared_image_needs_no_key_in_any_format(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str]
) -> None:
    image_id = await make_image(client, fake_jobs, ann)
    shared = await share(client, ann, image_id, expires_in_s=60)
    assert shared.status_code == 200
    url = shared.json()["url"]
    assert url.startswith(f"http://localhost/v1/shared/{image_id}?")
    picture = await client.get(url)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    own = await client.get(f"/v1/images/{image_id}", headers=ann)
    assert picture.content == own.content
    webp = await client.get(url + "&format=webp")
    assert (webp.status_code, webp.headers["content-type"]) == (200, "image/webp")
    assert (await client.get(f"/v1/images/{image_id}")).status_code == 401


async def test_a_link_that_was_changed_in_any_part_is_refused(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str]
) -> None:
    first, second = [await make_image(client, fake_jobs, ann) for _ in range(2)]
    url = (await share(client, ann, first)).json()["url"]
    values = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
    later = str(int(values["expires"]) + 1)
    changed: list[tuple[str, dict[str, str]]] = [
        (second, values),
        (first, values | {"expires": later}),
        (first, values | {"expires": " " + values["expires"]}),
        (first, values | {"expires": "9" * 5000}),
        (first, values | {"expires": "never"}),
        (first, values | {"signature": values["signature"][:-1]}),
        (first, values | {"signature": values["signature"].upper()}),
        (first, values | {"signature": "\u2603"}),
        (first, values | {"signature": "%ff\x00"}),
        (first, {"expires": values["expires"]}),
        (first, {}),
        ("nope", values),
        ("x" * 5000, values),
    ]
    for image_id, query in changed:
        answer = await client.get(f"/v1/shared/{image_id}", params=query)
        assert (answer.status_code, code(answer)) == (403, "forbidden"), query
    assert (await client.get(url)).status_code == 200


async def anything_goes(key_id: str) -> bool:
    return True


def read(url: str) -> tuple[Link, str]:
    """Return what an address says, and its signature."""
    parts = urlsplit(url)
    said = {name: found[0] for name, found in parse_qs(parts.query).items()}
    signature = said.pop("signature")
    return Link(image_id=parts.path.removeprefix("/v1/shared/"), **said), signature


async def test_a_link_ends_when_it_said(database: Database) -> None:
    now_s = 1_700_000_000.5
    links = ShareLinks(database, anything_goes, lambda: now_s)
    url, expires_at = await links.make("IMG1", 60, "k1")
    assert url.startswith("/v1/shared/IMG1?")
    assert expires_at == datetime.fromtimestamp(1_700_000_060, UTC)
    now_s += 59
    await links.check(*read(url))
    now_s += 1
    with pytest.raises(Forbidden, match="expired"):
        await links.check(*read(url))


async def test_all_gateways_agree_on_the_secret(database: Database, database_url: str) -> None:
    other = Database(database_url)
    url, _ = await ShareLinks(database, anything_goes).make("IMG1", 60, None)
    await ShareLinks(other, anything_goes).check(*read(url))
    other.close()


async def test_a_new_secret_ends_all_links_in_every_process(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.auth.signed_links.SECRET_CACHE_S", 0.0)
    here, there = (ShareLinks(database, anything_goes) for _ in range(2))
    url, _ = await here.make("IMG1", 60, "k1")
    await there.check(*read(url))
    other = Database(database_url)
    end_all_links(other)
    other.close()
    for links in (here, there):
        with pytest.raises(Forbidden, match="not valid"):
            await links.check(*read(url))
    await there.check(*read((await here.make("IMG1", 60, "k1"))[0]))


async def test_the_links_to_one_picture_are_ended_and_made_anew(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str], bearer: Bearer
) -> None:
    bob = bearer("create", "read")
    one, other = [await make_image(client, fake_jobs, ann) for _ in range(2)]
    kept = (await share(client, ann, other)).json()["url"]
    urls = [(await share(client, ann, one, metadata="none")).json()["url"]]
    address = f"/v1/images/{one}/share"
    assert (await client.delete(address, headers=bob)).status_code == 404
    assert (await client.get(urls[0])).status_code == 200
    for _ in range(2):
        assert (await client.delete(address, headers=ann)).status_code == 204
        urls.append((await share(client, ann, one, metadata="none")).json()["url"])
    assert [(await client.get(url)).status_code for url in urls] == [403, 403, 200]
    assert "ended all links" in (await client.get(urls[0])).json()["error"]["message"]
    assert (await client.get(kept)).status_code == 200
    last = parse_qs(urlsplit(urls[-1]).query)["round"][0]
    for forged in (f"{urls[0]}&round={last}", urls[-1].replace(f"round={last}&", "")):
        assert "not valid" in (await client.get(forged)).json()["error"]["message"]
    joined = urls[-1].replace(f"metadata=none&round={last}", f"metadata=none%0A{last}")
    assert joined != urls[-1]
    assert (await client.get(joined)).status_code == 403


async def test_a_link_ends_with_the_key_that_made_it(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    keys: KeyStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)
    (ann, token), (bob, _) = (keys.create(name, ["create", "read"]) for name in ("a", "b"))
    headers = {"authorization": f"Bearer {token}"}
    image_id = await make_image(client, fake_jobs, headers)
    url = (await share(client, headers, image_id)).json()["url"]
    assert (await client.get(url)).status_code == 200
    keys.revoke(ann.id)
    ended = await client.get(url)
    assert (ended.status_code, code(ended)) == (403, "forbidden")
    assert "revoked" in ended.json()["error"]["message"]
    claims_another_key = await client.get(url.replace(ann.id, bob.id))
    assert claims_another_key.status_code == 403


async def test_an_openai_address_ends_with_its_key_as_well(
    client: httpx.AsyncClient,
    running: FakeJobsClient,
    keys: KeyStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)
    ann, token = keys.create("ann", ["create"])
    body = {"prompt": "x", "response_format": "url"}
    headers = {"authorization": f"Bearer {token}"}
    answer = await client.post("/v1/images/generations", json=body, headers=headers)
    url = answer.json()["data"][0]["url"]
    assert (await client.get(url)).status_code == 200
    keys.revoke(ann.id)
    assert (await client.get(url)).status_code == 403


@pytest.mark.parametrize("stored", ["png", "webp", "jpeg"])
async def test_a_picture_can_be_shared_and_fetched_without_what_is_written_inside(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str], stored: str
) -> None:
    body = {"prompt": "a secret idea", "format": stored}
    job_id = (await client.post("/v1/jobs", json=body, headers=ann)).json()["id"]
    await fake_jobs.run(job_id)
    image_id = fake_jobs.images(job_id)[0].id
    url = (await share(client, ann, image_id, metadata="none")).json()["url"]
    own = await client.get(f"/v1/images/{image_id}?metadata=none", headers=ann)
    for picture in (own, await client.get(url), await client.get(url + "&format=webp")):
        assert picture.status_code == 200
        assert read_info(picture.content) is None
        assert b"secret" not in picture.content
        assert image_id.encode() not in picture.content
    # The link does not open the rest.
    assert (await client.get(url.replace("metadata=none", "metadata=all"))).status_code == 403
    assert (await client.get(url.replace("metadata=none", ""))).status_code == 403
    assert read_info((await client.get(f"/v1/images/{image_id}", headers=ann)).content)


async def test_a_browser_may_keep_a_picture_for_its_own_user_and_a_shared_one_for_a_minute(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str]
) -> None:
    image_id = await make_image(client, fake_jobs, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    own = await client.get(f"/v1/images/{image_id}", headers=ann)
    shared = await client.get(url)
    assert own.headers["cache-control"] == "private, max-age=86400, immutable"
    assert own.headers["vary"] == "Cookie"
    assert own.headers["cross-origin-resource-policy"] == "same-origin"
    assert shared.headers["cache-control"] == "private, max-age=60"
    assert shared.headers["cross-origin-resource-policy"] == "cross-origin"
    for address, headers, answer in ((f"/v1/images/{image_id}", ann, own), (url, {}, shared)):
        etag = answer.headers["etag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            again = await client.get(address, headers=headers | {"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), known
            assert again.headers["cache-control"] == answer.headers["cache-control"]
        another = await client.get(address, headers=headers | {"if-none-match": '"other"'})
        assert another.status_code == 200
        webp = await client.get(address, params={"format": "webp"}, headers=headers)
        assert webp.headers.get("etag") != etag
    await client.delete(f"/v1/images/{image_id}", headers=ann)
    gone = await client.get(url, headers={"if-none-match": shared.headers["etag"]})
    assert gone.status_code == 410


@pytest.mark.parametrize(
    ("name", "words"), [("SHARED_PER_CLIENT", "you may"), ("SHARED_PER_IMAGE", "picture")]
)
async def test_shared_pictures_have_a_budget_of_their_own(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: str,
) -> None:
    monkeypatch.setattr(limits, name, 3)
    image_id = await make_image(client, fake_jobs, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    # What is not a link of ours costs no budget.
    for _ in range(9):
        assert (await client.get(f"/v1/shared/{image_id}")).status_code == 403
    answers = [await client.get(url) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["retry-after"]) > 0
    assert words in answers[3].json()["error"]["message"]
    assert (await client.get(f"/v1/images/{image_id}", headers=ann)).status_code == 200


async def test_a_deleted_image_is_gone_for_its_links_too(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str]
) -> None:
    image_id = await make_image(client, fake_jobs, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    await client.delete(f"/v1/images/{image_id}", headers=ann)
    answer = await client.get(url)
    assert (answer.status_code, code(answer)) == (410, "gone")
    assert (await share(client, ann, image_id)).status_code == 410


@pytest.mark.parametrize("expires_in_s", [0, -1, 30 * 24 * 3600 + 1, "60", 1.5, None])
async def test_a_time_out_of_range_is_400(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str], expires_in_s: object
) -> None:
    image_id = await make_image(client, fake_jobs, ann)
    answer = await share(client, ann, image_id, expires_in_s=expires_in_s)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")


async def test_the_public_address_is_used_where_it_is_configured(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str]
) -> None:
    settings = app.state.services.settings
    named = settings.model_copy(update={"public_url": "https://pictures.example"})
    app.state.services.settings = named
    image_id = await make_image(client, fake_jobs, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    assert url.startswith(f"https://pictures.example/v1/shared/{image_id}?")


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost:8000", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("192.0.2.7:8000", True),  # the service listens there
        ("evil.example", False),
        ("192.0.2.8", False),
        ("localhost.evil.example", False),
    ],
)
async def test_no_link_is_built_from_a_name_that_only_the_request_claims(
    app: FastAPI,
    client: httpx.AsyncClient,
    running: FakeJobsClient,
    ann: dict[str, str],
    host: str,
    is_known: bool,
) -> None:
    settings = app.state.services.settings
    lan = settings.model_copy(update={"http_host": "192.0.2.7"})
    app.state.services.settings = lan
    image_id = await make_image(client, running, ann)
    headers = ann | {"host": host}
    url = (await share(client, headers, image_id)).json()["url"]
    assert url.startswith(f"http://{host}/v1/shared/" if is_known else "/v1/shared/")
    assert (
        await client.get(f"http://localhost{urlsplit(url).path}?{urlsplit(url).query}")
    ).is_success
    body = {"prompt": "x", "response_format": "url"}
    answer = await client.post("/v1/images/generations", json=body, headers=headers)
    if is_known:
        assert answer.json()["data"][0]["url"].startswith(f"http://{host}/v1/shared/")
    else:
        assert (answer.status_code, code(answer)) == (422, "unsupported_combination")
        assert "CASCADE_PUBLIC_URL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "x:99999999", "@", "", "/", "\u2603"])
async def test_a_broken_host_header_is_no_500(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: dict[str, str], host: str
) -> None:
    image_id = await make_image(client, fake_jobs, ann)
    headers = {**ann, b"host": host.encode()}  # type: ignore[dict-item]
    answer = await client.post(f"/v1/images/{image_id}/share", headers=headers)
    assert answer.status_code in {200, 400}
