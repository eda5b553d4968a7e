"""``/v1/assets`` over HTTP: who sees what, who may do what, and what protects a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from serve.gateway.dependencies import Services
from serve.storage.access.credentials import KeyScope
from serve.storage.blobs.blob_keys import image_key
from tests.serve.api_calls import code
from tests.serve.fake_jobs_client import FakeJobsClient

Headers = dict[str, str]


@pytest.fixture
def key(services: Services) -> Callable[..., Headers]:
    """Makes a key with a name; returns the header that shows it."""

    def make(name: str, *scopes: KeyScope) -> Headers:
        _, token = services.database.keys.create(name, scopes)
        return {"authorization": f"Bearer {token}"}

    return make


@pytest.fixture
def ann(key: Callable[..., Headers]) -> Headers:
    return key("ann", "create", "read")


@pytest.fixture
def bea(key: Callable[..., Headers]) -> Headers:
    return key("bea", "read", "review")


@pytest.fixture
def carl(key: Callable[..., Headers]) -> Headers:
    return key("carl", "read", "publish")


@pytest.fixture
def dora(key: Callable[..., Headers]) -> Headers:
    """Reads alone."""
    return key("dora", "create", "read")


async def picture(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: Headers, **body: Any
) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "a fox"} | body, headers=headers)
    job_id = answer.json()["id"]
    await fake_jobs.run(job_id)
    return fake_jobs.images(job_id)[0].id


async def act(
    client: httpx.AsyncClient, image_id: str, action: str, headers: Headers, **more: Any
) -> httpx.Response:
    body = {"action": action} | ({"note": "too dark"} if action == "reject" else {}) | more
    return await client.post(f"/v1/assets/{image_id}/transitions", json=body, headers=headers)


async def acted(
    client: httpx.AsyncClient, image_id: str, action: str, headers: Headers, **more: Any
) -> dict[str, Any]:
    answer = await act(client, image_id, action, headers, **more)
    assert answer.status_code == 200, answer.text
    asset: dict[str, Any] = answer.json()
    return asset


async def shown(client: httpx.AsyncClient, image_id: str, headers: Headers) -> dict[str, Any]:
    answer = await client.get(f"/v1/assets/{image_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    asset: dict[str, Any] = answer.json()
    return asset


async def listed(client: httpx.AsyncClient, headers: Headers, **params: Any) -> list[str]:
    answer = await client.get("/v1/assets", params=params, headers=headers)
    return [asset["id"] for asset in answer.json()["assets"]]


async def test_a_picture_is_submitted_approved_and_published_by_three_keys(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, bea: Headers, carl: Headers
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    draft = await shown(client, image_id, ann)
    assert (draft["state"], draft["version"], draft["actions"]) == ("draft", 0, ["submit"])
    submitted = await acted(client, image_id, "submit", ann)
    assert (submitted["state"], submitted["actions"]) == ("submitted", ["withdraw"])
    seen = await shown(client, image_id, bea)
    assert seen["actions"] == ["approve", "reject"]
    assert seen["submitted_by"] == {"key": "ann", "user": None}
    assert seen["model"]["id"]
    approved = await acted(client, image_id, "approve", bea, note="fine", expected_version=1)
    assert (approved["decided_by"]["key"], approved["note"]) == ("bea", "fine")
    assert approved["actions"] == ["reopen"]
    published = await acted(client, image_id, "publish", carl)
    assert published["published_at"] is not None
    history = await client.get(f"/v1/assets/{image_id}/history", headers=ann)
    events = history.json()["events"]
    assert [(e["action"], e["actor"]["key"], e["to_state"]) for e in events] == [
        ("submit", "ann", "submitted"), ("approve", "bea", "approved"),
        ("publish", "carl", "published"),
    ]  # fmt: skip
    assert {event["sha256"] for event in events} == {published["sha256"]}


async def test_a_rejection_needs_a_note_and_can_be_taken_back(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, bea: Headers
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    await acted(client, image_id, "submit", ann)
    refused = await act(client, image_id, "reject", bea, note=" ")
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "note")
    rejected = await acted(client, image_id, "reject", bea)
    assert (rejected["state"], rejected["note"]) == ("rejected", "too dark")
    again = await acted(client, image_id, "reopen", bea)
    assert (again["state"], again["submitted_by"]["key"]) == ("submitted", "ann")


async def test_each_action_needs_its_scope_or_its_owner(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: Headers,
    bea: Headers,
    carl: Headers,
    dora: Headers,
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    for stranger in (bea, carl, dora):  # not even that it is there
        assert (await act(client, image_id, "submit", stranger)).status_code == 404
    await acted(client, image_id, "submit", ann)
    refused = [
        (action, headers)
        for headers, actions in (
            (ann, ("approve", "reject", "reopen", "publish", "archive")),
            (bea, ("withdraw", "submit", "publish")),
            (carl, ("approve", "reject", "withdraw")),
        )
        for action in actions
    ]
    for action, headers in refused:
        answer = await act(client, image_id, action, headers)
        assert (answer.status_code, code(answer)) == (403, "forbidden"), action
    assert (await act(client, image_id, "approve", dora)).status_code == 404
    assert (await shown(client, image_id, ann))["version"] == 1


async def test_the_users_of_a_bot_are_people_of_their_own(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, key: Callable[..., Headers]
) -> None:
    bot = key("bot", "create", "read", "trusted", "review")
    image_id = await picture(client, fake_jobs, bot, user="discord:1")
    other = await act(client, image_id, "submit", bot, user="discord:2")
    assert other.status_code == 404
    await acted(client, image_id, "submit", bot, user="discord:1")
    own = await act(client, image_id, "approve", bot, user="discord:1")
    assert (own.status_code, code(own)) == (403, "four_eyes")
    approved = await acted(client, image_id, "approve", bot, user="discord:2")
    assert approved["decided_by"] == {"key": "bot", "user": "discord:2"}


async def test_an_admin_approves_not_its_own_unless_the_settings_let_it(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    key: Callable[..., Headers],
    services: Services,
) -> None:
    root = key("root", "admin")
    image_id = await picture(client, fake_jobs, root)
    asset = await acted(client, image_id, "submit", root)
    assert "approve" not in asset["actions"]
    assert code(await act(client, image_id, "approve", root)) == "four_eyes"
    services.settings = services.settings.model_copy(update={"self_approval": True})
    assert "approve" in (await shown(client, image_id, root))["actions"]
    assert (await acted(client, image_id, "approve", root))["state"] == "approved"


async def test_a_machine_without_keys_does_everything(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image_id = await picture(client, fake_jobs, {})
    for action in ("submit", "approve", "publish", "archive", "restore", "publish", "unpublish"):
        asset = await acted(client, image_id, action, {})
    assert (asset["state"], asset["version"], asset["decided_by"]["key"]) == (
        "approved", 7, "local",
    )  # fmt: skip


async def test_others_see_an_asset_and_its_picture_once_it_is_approved(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: Headers,
    bea: Headers,
    dora: Headers,
    services: Services,
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    paths = [f"/v1/assets/{image_id}", f"/v1/images/{image_id}", f"/v1/thumbs/{image_id}"]

    async def statuses(headers: Headers) -> set[int]:
        return {(await client.get(path, headers=headers)).status_code for path in paths}

    assert (await statuses(bea), await statuses(dora)) == ({404}, {404})
    await acted(client, image_id, "submit", ann)
    assert (await statuses(bea), await statuses(dora)) == ({200}, {404})
    await acted(client, image_id, "approve", bea)
    assert await statuses(dora) == {200}
    assert await listed(client, dora) == [image_id]
    assert (await client.delete(paths[1], headers=dora)).status_code == 404
    assert (await client.get("/v1/library", headers=dora)).json()["items"] == []
    services.settings = services.settings.model_copy(update={"share_approved": False})
    assert (await statuses(dora), await statuses(bea)) == ({404}, {200})
    assert await listed(client, dora) == []


async def test_a_reviewing_bot_shows_a_user_no_picture_that_is_not_approved(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, key: Callable[..., Headers]
) -> None:
    bot = key("bot", "create", "read", "trusted", "review")
    image_id = await picture(client, fake_jobs, bot, user="discord:1")
    await acted(client, image_id, "submit", bot, user="discord:1")
    url = f"/v1/images/{image_id}"
    as_other = await client.get(url, params={"user": "discord:2"}, headers=bot)
    assert as_other.status_code == 404
    assert (await client.get(url, headers=bot)).status_code == 200
    await acted(client, image_id, "approve", bot, user="discord:2")
    assert (await client.get(url, params={"user": "discord:2"}, headers=bot)).status_code == 200


async def test_submitted_assets_come_oldest_first_page_by_page_with_counts(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, bea: Headers
) -> None:
    images = [await picture(client, fake_jobs, ann) for _ in range(3)]
    for image_id in reversed(images):
        await acted(client, image_id, "submit", ann)
    params: dict[str, Any] = {"state": "submitted", "limit": 2}
    first = (await client.get("/v1/assets", params=params, headers=bea)).json()
    params["cursor"] = first["next_cursor"]
    second = (await client.get("/v1/assets", params=params, headers=bea)).json()
    found = [asset["id"] for page in (first, second) for asset in page["assets"]]
    assert (found, second["next_cursor"]) == (images[::-1], None)
    assert first["counts"]["submitted"] == 3
    await acted(client, images[0], "approve", bea)
    assert await listed(client, bea) == [images[0], *images[1:]]


@pytest.mark.parametrize("cursor", ["x", "1", "1.a b", f"{'9' * 18}.x", "1.x/.."])
async def test_what_is_no_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get("/v1/assets", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "cursor")


async def test_two_reviewers_of_one_version_do_not_overwrite_each_other(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, bea: Headers
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    await acted(client, image_id, "submit", ann)
    await acted(client, image_id, "reject", bea, expected_version=1)
    late = await act(client, image_id, "approve", bea, expected_version=1)
    assert (late.status_code, code(late)) == (409, "asset_conflict")
    assert "rejected" in late.json()["error"]["message"]


async def test_a_file_that_was_replaced_is_not_approved(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: Headers,
    bea: Headers,
    services: Services,
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    await acted(client, image_id, "submit", ann)
    await services.blobs.put(image_key(image_id, "png"), b"another picture")
    answer = await act(client, image_id, "approve", bea)
    assert (answer.status_code, code(answer)) == (409, "asset_damaged")


async def test_several_assets_are_changed_each_by_itself(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, dora: Headers
) -> None:
    own, other = await picture(client, fake_jobs, ann), await picture(client, fake_jobs, dora)
    body = {"ids": [own, other, "nope", "a\0b", own], "action": "submit"}
    answer = await client.post("/v1/assets/transitions", json=body, headers=ann)
    results = answer.json()["results"]
    assert [(r["id"], r["asset"] and r["asset"]["state"]) for r in results] == [
        (own, "submitted"), (other, None), ("nope", None), ("a\0b", None),
    ]  # fmt: skip
    assert [r["error"]["code"] for r in results[1:]] == ["not_found"] * 3


async def test_what_is_submitted_or_beyond_is_not_deleted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers, bea: Headers
) -> None:
    image_id, draft = [await picture(client, fake_jobs, ann) for _ in range(2)]
    await acted(client, image_id, "submit", ann)
    answer = await client.delete(f"/v1/images/{image_id}", headers=ann)
    assert (answer.status_code, code(answer)) == (409, "asset_protected")
    for some in ({"ids": [image_id]}, {"q": "fox state:submitted"}):
        body = some | {"action": "delete"}
        bulk = (await client.post("/v1/images/bulk", json=body, headers=ann)).json()
        assert (bulk["changed"], bulk["more"]) == (0, False)
        assert [(one["id"], one["code"]) for one in bulk["failed"]] == [
            (image_id, "asset_protected")
        ]
    body = {"q": "fox", "action": "delete"}
    bulk = (await client.post("/v1/images/bulk", json=body, headers=ann)).json()
    assert (bulk["changed"], [one["id"] for one in bulk["failed"]]) == (1, [image_id])
    assert (await client.get(f"/v1/images/{draft}", headers=ann)).status_code == 410
    await acted(client, image_id, "reject", bea)
    assert (await client.delete(f"/v1/images/{image_id}", headers=ann)).status_code == 204


async def test_an_admin_purges_an_asset_in_any_state_and_the_log_keeps_that(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: Headers,
    bea: Headers,
    carl: Headers,
    key: Callable[..., Headers],
    services: Services,
) -> None:
    root = key("root", "admin")
    image_id = await picture(client, fake_jobs, ann)
    await acted(client, image_id, "submit", ann)
    await acted(client, image_id, "approve", bea, note="as Ann Smith asked")
    url = f"/v1/assets/{image_id}"
    for headers in (ann, bea, carl):
        assert (await client.delete(url, headers=headers)).status_code == 403
    for _ in range(2):
        assert (await client.delete(url, headers=root)).status_code == 204
    assert not await services.blobs.exists(image_key(image_id, "png"))
    params = {"asset": image_id}
    audit = (await client.get("/v1/audit", params=params, headers=carl)).json()["events"]
    assert [event["action"] for event in audit] == ["purge", "approve", "submit"]
    assert "Smith" not in str(audit)
    (report,) = services.database.audit.verify()
    assert (report.events, report.problem) == (3, "")


async def test_the_audit_log_is_read_by_publishers_page_by_page(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    ann: Headers,
    bea: Headers,
    carl: Headers,
) -> None:
    image_id = await picture(client, fake_jobs, ann)
    for action, headers in (("submit", ann), ("reject", bea), ("submit", ann)):
        await acted(client, image_id, action, headers)
    for headers in (ann, bea):
        assert (await client.get("/v1/audit", headers=headers)).status_code == 403
    first = (await client.get("/v1/audit", params={"limit": 2}, headers=carl)).json()
    params = {"cursor": first["next_cursor"]}
    second = (await client.get("/v1/audit", params=params, headers=carl)).json()
    events = [*first["events"], *second["events"]]
    assert [event["action"] for event in events] == ["submit", "reject", "submit"]
    unknown = {"cursor": "nope.1"}
    answer = await client.get("/v1/audit", params=unknown, headers=carl)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "cursor")


async def test_the_library_shows_and_finds_states(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, ann: Headers
) -> None:
    image_id, draft = [await picture(client, fake_jobs, ann) for _ in range(2)]
    await acted(client, image_id, "submit", ann)
    star = {"star": True}
    marked = await client.patch(f"/v1/images/{image_id}", json=star, headers=ann)
    assert marked.json()["state"] == "submitted"
    for q, ids in (("state:submitted star:yes", [image_id]), ("state:draft", [draft])):
        page = (await client.get("/v1/library", params={"q": q}, headers=ann)).json()
        assert [item["id"] for item in page["items"]] == ids
    wrong = await client.get("/v1/library", params={"q": "state:nice"}, headers=ann)
    assert (wrong.status_code, "approved" in wrong.json()["error"]["message"]) == (400, True)
