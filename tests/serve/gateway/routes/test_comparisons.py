"""Comparisons over HTTP: one prompt and one seed, several models or settings."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from ulid import ULID

from cascade_core.errors import NotReady, RateLimited
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.gateway.dependencies import Services
from serve.served_models import Models, OpenModel
from serve.storage.access.credentials import KeyStore
from tests.limits import HANG_S
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

MODELS = ["demo", "me/other"]
TWO: dict[str, Any] = {"prompt": "a red circle", "models": MODELS}


@pytest.fixture(autouse=True)
def _two_models(services: Services) -> None:
    first = services.models.default
    other = replace(first.checkpoint, id=MODELS[1], fingerprint="f2", picture_encoder=None)
    services.models = Models([first, OpenModel(STABLE_CASCADE.served_as("other"), other)])


async def compared(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/comparisons", json=TWO | body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/comparisons/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


def jobs_of(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["job"] for entry in comparison["entries"]]


async def shown(client: httpx.AsyncClient, comparison: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/comparisons/{comparison['id']}")).json()
    return found


async def test_each_model_gets_a_job_of_the_same_prompt_and_seed(client: httpx.AsyncClient) -> None:
    comparison = await compared(client, n=2, client_state={"inbox": "bot"})
    requests = [job["request"] for job in jobs_of(comparison)]
    assert [request["model"] for request in requests] == MODELS
    assert {(r["prompt"], r["n"], r["seed"], r["decoder_seed"]) for r in requests} == {
        ("a red circle", 2, comparison["seed"], comparison["seed"])
    }
    assert comparison["state"] == "running"
    (listed,) = (await client.get("/v1/jobs", params={"inbox": "bot"})).json()["jobs"]
    assert listed["id"] == jobs_of(comparison)[0]["id"]


async def test_settings_are_compared_with_what_all_have_in_common(
    client: httpx.AsyncClient,
) -> None:
    settings = [{"steps": 4}, {"steps": 9, "model": "me/other"}]
    answer = await client.post(
        "/v1/comparisons", json={"prompt": "x", "seed": 7, "steps": 3, "settings": settings}
    )
    entries = answer.json()["entries"]
    assert [entry["settings"] for entry in entries] == settings
    made = [
        (e["model"], e["job"]["request"]["steps"], e["job"]["request"]["seed"]) for e in entries
    ]
    assert made == [("demo", 4, 7), ("me/other", 9, 7)]


async def test_when_all_jobs_have_ended_it_says_what_each_took(
    client: httpx.AsyncClient, running: FakeJobsClient, services: Services
) -> None:
    prices = {"c": 3600.0, "b": 3600.0, "a": 3600.0}
    services.settings = services.settings.model_copy(update={"hour_price": prices})
    comparison = await compared(client)
    assert comparison["state"] == "ended"
    for entry in comparison["entries"]:
        (image,) = entry["job"]["images"]
        data = (await client.get(f"/v1/images/{image['id']}")).content
        assert entry["bytes"] == len(data)
        assert entry["seconds"] >= 0
        assert entry["compute_s"] == pytest.approx(sum(entry["job"]["cost"].values()))
    del prices["c"]
    costs = [sum(job["cost"].values()) for job in jobs_of(comparison)]
    priced = [entry["price"] for entry in comparison["entries"]]
    assert priced == [pytest.approx(cost) if cost else None for cost in costs]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"models": None}, 400, "models"),
        ({"settings": [{"steps": 2}]}, 400, "models"),
        ({"models": ["demo", "demo"]}, 400, "models"),
        ({"models": None, "settings": [{}, {}]}, 400, "settings"),
        ({"models": []}, 400, "models"),
        ({"models": list("abcde")}, 400, "models"),
        ({"models": ["demo", "gone"]}, 404, "models.1"),
        ({"models": None, "settings": [{}, {"model": "gone"}]}, 404, "settings.1.model"),
        ({"models": None, "settings": [{}, {"steps": 1000}]}, 400, "settings.1.steps"),
        ({"models": None, "settings": [{"seed": 1}]}, 400, "settings.0.seed"),
        ({"steps": 1000}, 400, "steps"),
        ({"prompt": " "}, 400, "prompt"),
        ({"id": "x"}, 400, "id"),
        ({"n": 9}, 400, "n"),
    ],
)
async def test_what_cannot_be_compared_is_refused_by_field_and_makes_no_job(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, field: str
) -> None:
    given = {name: value for name, value in (TWO | body).items() if value is not None}
    answer = await client.post("/v1/comparisons", json=given)
    assert (answer.status_code, answer.json()["error"].get("field")) == (status, field)
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    assert (await client.get("/v1/comparisons")).json()["comparisons"] == []


async def test_if_one_job_is_refused_nothing_of_the_comparison_stays(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def refuse_the_next(_job_id: str) -> None:
        fake_jobs.error = RateLimited("too many")

    fake_jobs.on_submit = refuse_the_next
    answer = await client.post("/v1/comparisons", json=TWO | {"client_state": {"inbox": "bot"}})
    assert code(answer) == "rate_limited"
    fake_jobs.error = None
    (job,) = (await client.get("/v1/jobs")).json()["jobs"]
    assert (job["state"], job.get("client_state")) == ("cancelled", None)
    assert (await client.get("/v1/comparisons")).json()["comparisons"] == []


async def test_the_id_of_a_comparison_that_was_refused_in_part_is_used_up(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def refuse_the_next(_job_id: str) -> None:
        fake_jobs.error = RateLimited("too many")

    fake_jobs.on_submit = refuse_the_next
    body = TWO | {"id": str(ULID())}
    assert code(await client.post("/v1/comparisons", json=body)) == "rate_limited"
    fake_jobs.error, fake_jobs.on_submit = None, None
    answer = await client.post("/v1/comparisons", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (409, "id")
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_what_an_outage_left_out_is_made_when_it_is_asked_for_again(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def hang_up(_job_id: str) -> None:
        fake_jobs.error = NotReady("draining")

    fake_jobs.on_submit = hang_up
    body = TWO | {"id": str(ULID())}
    assert code(await client.post("/v1/comparisons", json=body)) == "not_ready"
    fake_jobs.error, fake_jobs.on_submit = None, None
    comparison = await compared(client, id=body["id"])
    assert [job["state"] for job in jobs_of(comparison)] == ["queued", "queued"]


async def test_what_a_crash_left_is_kept_where_the_rest_is_refused_for_now(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def hang_up(_job_id: str) -> None:
        fake_jobs.error = NotReady("draining")

    fake_jobs.on_submit = hang_up
    body = TWO | {"id": str(ULID())}
    for error in (NotReady("draining"), RateLimited("too many")):
        await client.post("/v1/comparisons", json=body)
        fake_jobs.error = error
    assert code(await client.post("/v1/comparisons", json=body)) == "rate_limited"
    (job,) = (await client.get("/v1/jobs")).json()["jobs"]
    assert job["state"] == "queued"
    fake_jobs.error, fake_jobs.on_submit = None, None
    assert len(jobs_of(await compared(client, id=body["id"]))) == 2


async def test_a_client_that_leaves_meanwhile_leaves_no_half_of_a_comparison(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    is_at_work, may_go_on = asyncio.Event(), asyncio.Event()
    made: asyncio.Queue[str] = asyncio.Queue()

    async def hold(job_id: str) -> None:
        is_at_work.set()
        await may_go_on.wait()
        made.put_nowait(job_id)

    fake_jobs.on_submit = hold
    asking = asyncio.create_task(client.post("/v1/comparisons", json=TWO))
    await is_at_work.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    may_go_on.set()
    async with asyncio.timeout(HANG_S):
        assert len({await made.get(), await made.get()}) == 2


async def test_two_names_of_one_model_are_one_model(
    client: httpx.AsyncClient, services: Services
) -> None:
    services.models = Models(list(services.models), ["dall-e-3"])
    body = TWO | {"models": ["demo", "dall-e-3"]}
    answer = await client.post("/v1/comparisons", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "models")


async def test_a_repeated_request_finds_its_comparison_with_the_same_seed(
    client: httpx.AsyncClient,
) -> None:
    headers = {"idempotency-key": "once"}
    answers = [
        (await client.post("/v1/comparisons", json=TWO, headers=headers)).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 2
    other = await client.post("/v1/comparisons", json=TWO | {"n": 2}, headers=headers)
    assert code(other) == "idempotency_mismatch"


async def test_two_equal_requests_at_once_make_one_comparison(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    requests = [client.post("/v1/comparisons", json=TWO, headers=headers) for _ in range(4)]
    ids = {answer.json()["id"] for answer in await asyncio.gather(*requests)}
    assert len(ids) == 1
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 2


async def test_a_repeated_request_makes_the_jobs_that_a_crash_left_out(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    class Crash(BaseException):
        """The gateway's process is killed."""

    async def crash(_job_id: str) -> None:
        raise Crash

    fake_jobs.on_submit = crash
    headers = {"idempotency-key": "once"}
    with pytest.raises(Crash):
        await client.post("/v1/comparisons", json=TWO, headers=headers)
    fake_jobs.on_submit = None
    comparison = (await client.post("/v1/comparisons", json=TWO, headers=headers)).json()
    assert [job["request"]["model"] for job in jobs_of(comparison)] == MODELS
    assert {job["request"]["seed"] for job in jobs_of(comparison)} == {comparison["seed"]}
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 2


async def test_each_two_pictures_of_an_index_are_a_pair_whose_sides_do_not_tell_the_model(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    comparisons = [await compared(client, n=2) for _ in range(8)]
    left_ones = set()
    for comparison in comparisons:
        pictures = [[image["id"] for image in job["images"]] for job in jobs_of(comparison)]
        assert [pair["image_index"] for pair in comparison["pairs"]] == [0, 1]
        for pair in comparison["pairs"]:
            index = pair["image_index"]
            assert {pair["left"], pair["right"]} == {one[index] for one in pictures}
            left_ones.add(pair["left"] == pictures[0][index])
        assert (await shown(client, comparison))["pairs"] == comparison["pairs"]
    assert left_ones == {True, False}


async def vote(
    client: httpx.AsyncClient, comparison: dict[str, Any], choice: str, **body: Any
) -> httpx.Response:
    url = f"/v1/comparisons/{comparison['id']}/votes"
    return await client.post(url, json={"pair": 0, "choice": choice} | body)


async def test_a_vote_tells_what_the_sides_were_and_counts_once_for_each_voter(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    comparison = await compared(client, user="ann")
    first = (await vote(client, comparison, "left", user="bob")).json()
    preferred = first["preferred"]
    assert first["left"] == {
        "entry": preferred,
        "model": MODELS[preferred],
        "settings": {"model": MODELS[preferred]},
    }
    assert first["right"]["entry"] == 1 - preferred
    assert first["tally"]["votes"][preferred] == 1
    changed = (await vote(client, comparison, "right", user="bob")).json()
    assert changed == first
    same = (await vote(client, comparison, "same", user="eve")).json()
    assert (same["preferred"], same["tally"]["same"]) == (None, 1)
    assert (await shown(client, comparison))["tally"] == same["tally"]


async def test_a_pair_without_both_pictures_takes_no_vote(client: httpx.AsyncClient) -> None:
    comparison = await compared(client)
    answer = await vote(client, comparison, "left")
    assert (answer.status_code, code(answer)) == (409, "conflict")
    answer = await vote(client, comparison, "left", pair=1)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "pair")
    answer = await vote(client, comparison, "best")
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "choice")
    assert (await shown(client, comparison))["tally"] == {"votes": [0, 0], "same": 0}


async def test_one_entry_alone_has_no_pair(client: httpx.AsyncClient) -> None:
    comparison = await compared(client, models=["demo"])
    assert comparison["pairs"] == []
    assert (await vote(client, comparison, "left")).status_code == 400


async def test_comparisons_of_another_key_are_not_found(
    client: httpx.AsyncClient, running: FakeJobsClient, bearer: Bearer
) -> None:
    mine, theirs = bearer("read", "create"), bearer("read", "create")
    made = await client.post("/v1/comparisons", json=TWO, headers=mine)
    url = f"/v1/comparisons/{made.json()['id']}"
    body = {"pair": 0, "choice": "left"}
    for answer in (
        await client.get(url, headers=theirs),
        await client.get(f"{url}/events", headers=theirs),
        await client.post(f"{url}/votes", json=body, headers=theirs),
        await client.get(f"{url}x", headers=mine),
    ):
        assert (answer.status_code, code(answer)) == (404, "not_found")
    assert (await client.get("/v1/comparisons", headers=theirs)).json()["comparisons"] == []
    assert len((await client.get("/v1/comparisons", headers=mine)).json()["comparisons"]) == 1
    assert (await client.post(f"{url}/votes", json=body, headers=mine)).status_code == 200


async def test_an_end_user_sees_its_own_and_others_of_the_key_may_vote(
    client: httpx.AsyncClient, running: FakeJobsClient, bearer: Bearer
) -> None:
    bot = bearer("read", "create", "trusted")
    body = TWO | {"user": "ann"}
    comparison = (await client.post("/v1/comparisons", json=body, headers=bot)).json()
    url = f"/v1/comparisons/{comparison['id']}"
    assert (await client.get(url, params={"user": "ann"}, headers=bot)).status_code == 200
    assert (await client.get(url, params={"user": "bob"}, headers=bot)).status_code == 404
    cast = {"pair": 0, "choice": "right", "user": "bob"}
    assert (await client.post(f"{url}/votes", json=cast, headers=bot)).status_code == 200


async def test_comparisons_are_listed_newest_first_page_by_page(client: httpx.AsyncClient) -> None:
    made = [(await compared(client))["id"] for _ in range(3)]
    first = (await client.get("/v1/comparisons", params={"limit": 2})).json()
    after = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await client.get("/v1/comparisons", params=after)).json()
    listed = [one["id"] for page in (first, second) for one in page["comparisons"]]
    assert listed == sorted(made, reverse=True)
    assert second["next_cursor"] is None


async def test_one_stream_has_the_events_of_all_jobs_and_ends_with_the_comparison(
    live_client: httpx.AsyncClient, submitted: asyncio.Queue[str], fake_jobs: FakeJobsClient
) -> None:
    comparison = await compared(live_client)
    ids = [job["id"] for job in jobs_of(comparison)]
    await fake_jobs.run(ids[1])
    found: list[tuple[str, dict[str, Any]]] = []
    url = f"/v1/comparisons/{comparison['id']}/events"
    async with live_client.stream("GET", url) as stream:
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if name == "succeeded" and found[-1][1]["job_id"] == ids[1]:
                    await fake_jobs.run(ids[0])
    assert found[-1][0] == "ended"
    assert found[-1][1] == await shown(live_client, comparison)
    of_each = {job_id: [n for n, data in found if data.get("job_id") == job_id] for job_id in ids}
    for names in of_each.values():
        assert (names[0], names[-1]) == ("queued", "succeeded")
        assert {"progress", "image"} <= set(names)


async def test_a_key_compares_only_models_that_it_may_use(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    _, token = keys.create("ann", ["read", "create"], models=["demo"])
    headers = {"authorization": f"Bearer {token}"}
    answer = await client.post("/v1/comparisons", json=TWO, headers=headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "models.1")
