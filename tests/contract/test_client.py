"""The bot's client against the real gateway; only the process that runs jobs is a stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from ulid import ULID

from bot.service.client import CascadeClient
from bot.service.models import FOUND, LOST, Job, JobEvent
from bot.settings import MAX_PAGE
from bot.telemetry.log import referenced
from cascade_core.errors import Conflict, InvalidRequest, NotFound, NotReady, Unauthorized
from tests.bot.gateway import Service, running_service
from tests.limits import HANG_S

ANN, BOB = "discord:1", "discord:2"


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path) as service:
        yield service


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[CascadeClient]:
    client = CascadeClient(service.url, service.make_key(), budget_s=5.0)
    yield client
    await client.close()


async def ask(client: CascadeClient, **changes: Any) -> Job:
    order = {"kind": "generate", "prompt": "a red circle"} | changes.pop("order", {})
    given: dict[str, Any] = {"job_id": str(ULID()), "user": ANN, "client_state": {"inbox": "x"}}
    return await client.create_job(order, **given | changes)


async def test_a_job_is_accepted_followed_and_its_picture_fetched(
    client: CascadeClient, service: Service
) -> None:
    job = await ask(client, order={"n": 2, "seed": 7})
    assert (job.state, job.position, job.request.n, job.client_state) == (
        "queued",
        0,
        2,
        {"inbox": "x"},
    )
    await service.succeed(job.id)
    seen = [event async for event in client.events(job.id)]
    assert [event.type for event in seen] == [
        "queued", "progress", "image", "progress", "image", "succeeded",
    ]  # fmt: skip
    done = await client.job(job.id, ANN)
    assert (done.state, done.is_resting) == ("succeeded", True)
    assert [image.seed for image in done.images] == [7, 8]
    assert done.took_s is not None
    assert (await client.image(done.images[0].id, ANN)).startswith(b"\x89PNG")
    preview = await client.preview(seen[1].data["preview_url"])
    assert preview.startswith(b"RIFF")


async def test_asking_twice_with_one_id_makes_one_job(
    client: CascadeClient, service: Service
) -> None:
    job_id = str(ULID())
    first, second = await asyncio.gather(ask(client, job_id=job_id), ask(client, job_id=job_id))
    assert first.id == second.id == job_id
    assert service.submitted.qsize() == 1


async def test_other_users_things_are_not_found(client: CascadeClient, service: Service) -> None:
    job = await ask(client)
    await service.succeed(job.id)
    image = (await client.job(job.id)).images[0]
    for stolen in (
        client.job(job.id, BOB),
        client.cancel(job.id, BOB),
        client.image(image.id, BOB),
        client.delete_image(image.id, BOB),
    ):
        with pytest.raises(NotFound):
            await stolen
    assert (await client.jobs(user=BOB)).jobs == ()
    assert [found.id for found in (await client.jobs(user=ANN)).jobs] == [job.id]


async def test_details_are_varied_from_the_latent_and_a_deleted_one_says_so(
    client: CascadeClient, service: Service
) -> None:
    job = await ask(client)
    await service.succeed(job.id)
    image = (await client.job(job.id)).images[0]
    order = {"kind": "vary_details", "latent_id": image.latent_id, "prompt": None}
    varied = await ask(client, order=order)
    assert (varied.kind, varied.request.latent_id) == ("vary_details", image.latent_id)
    await client.delete_image(image.id, ANN)
    await client.delete_image(image.id, ANN)
    assert (await client.job(job.id)).images == ()


async def test_a_draft_is_deleted_by_its_owner_once_its_job_has_ended(
    client: CascadeClient, service: Service
) -> None:
    job = await ask(client, order={"n": 2, "stop_after": "c"})
    await service.fake_jobs.draft(job.id)
    draft, other = (await client.job(job.id)).compositions
    with pytest.raises(Conflict):
        await client.delete_latent(draft.latent_id, ANN)
    await client.cancel(job.id, ANN)
    with pytest.raises(NotFound):
        await client.delete_latent(draft.latent_id, BOB)
    await client.delete_latent(draft.latent_id, ANN)
    await client.delete_latent(draft.latent_id, ANN)
    assert (await client.job(job.id)).compositions == (other,)


async def test_bad_values_come_back_as_what_they_are(client: CascadeClient) -> None:
    with pytest.raises(InvalidRequest, match="n must be") as caught:
        await ask(client, order={"n": 99})
    assert caught.value.field == "n"
    with pytest.raises(NotFound):
        await client.job("../keys")


async def test_one_of_two_claims_wins_and_a_repeated_one_is_no_conflict(
    client: CascadeClient,
) -> None:
    job = await ask(client)
    await client.set_client_state(job.id, {"a": 1}, {"inbox": "x"})
    await client.set_client_state(job.id, {"a": 1}, {"inbox": "x"})
    with pytest.raises(Conflict):
        await client.set_client_state(job.id, {"a": 2}, {"inbox": "x"})
    assert (await client.jobs(inbox="x")).jobs == ()


async def test_pages_lead_to_the_last_job(client: CascadeClient) -> None:
    made = [(await ask(client)).id for _ in range(5)]
    found, cursor = [], None
    while True:
        page = await client.jobs(inbox="x", limit=2, cursor=cursor)
        found += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(made)


async def test_a_preference_is_forgotten(client: CascadeClient) -> None:
    await client.set_preference("private_people", {"users": []})
    await client.delete_preference("private_people")
    assert await client.preference("private_people") is None
    await client.delete_preference("private_people")


async def test_the_service_lists_as_many_jobs_as_a_person_may_have_under_way(
    client: CascadeClient,
) -> None:
    assert (await client.jobs(user=ANN, state="queued", limit=MAX_PAGE)).jobs == ()


async def test_preferences_model_status_and_readiness(client: CascadeClient) -> None:
    assert await client.preference("defaults", ANN) is None
    await client.set_preference("defaults", {"aspect": "wide"}, ANN)
    assert await client.preference("defaults", ANN) == {"aspect": "wide"}
    assert await client.preference("defaults", BOB) is None
    (model,) = await client.models()
    assert (model.width, model.max_side, model.suggestions[0]) == (256, 512, "a red circle")
    status = await client.status()
    assert status.replicas == {"StageC": 1, "Jobs": 1}
    assert status.error_rate == 0.0
    await client.check()


async def test_a_service_that_would_not_run_a_job_is_not_ready(
    client: CascadeClient, service: Service
) -> None:
    service.fake_jobs.states["StageC"] = "starting"
    with pytest.raises(NotReady):
        await client.check()


async def test_a_shared_link_shows_the_picture_without_a_key(
    client: CascadeClient, service: Service
) -> None:
    job = await ask(client)
    await service.succeed(job.id)
    link = await client.share((await client.job(job.id)).images[0].id, 60)
    async with httpx.AsyncClient(timeout=HANG_S) as stranger:
        assert (await stranger.get(link)).content.startswith(b"\x89PNG")


async def test_the_stream_of_events_survives_a_restart_of_the_service(
    client: CascadeClient, service: Service
) -> None:
    job = await ask(client)
    events: asyncio.Queue[JobEvent] = asyncio.Queue()

    async def follow() -> None:
        async for event in client.events(job.id):
            await events.put(event)

    following = asyncio.create_task(follow())
    assert (await events.get()).type == "queued"
    await service.fake_jobs.show_preview(job.id, "c", 1)
    assert (await events.get()).data["step"] == 1
    await service.stop()
    await service.succeed(job.id)
    await service.start()
    async with asyncio.timeout(HANG_S):
        await following
    types = [events.get_nowait().type for _ in range(events.qsize())]
    told = [one for one in types if one not in (LOST, FOUND)]  # only if the restart took long
    assert told == ["progress", "image", "succeeded"]


class OneEventServer:
    """Answers each request with one event, then ends the connection."""

    def __init__(self, port: int) -> None:
        self.event = "queued"
        self._port = port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self._port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(f"{head}id: 1\nevent: {self.event}\ndata: {{}}\n\n".encode())
        await writer.drain()
        writer.close()


async def test_a_service_that_does_not_answer_is_told_once_and_so_is_its_return(
    unused_tcp_port: int,
) -> None:
    server = OneEventServer(unused_tcp_port)
    await server.start()
    client = CascadeClient(f"http://127.0.0.1:{unused_tcp_port}")
    events = client.events("JOB")
    async with asyncio.timeout(HANG_S):
        assert (await anext(events)).type == "queued"
        await server.stop()
        assert (await anext(events)).type == LOST
        waiting = asyncio.ensure_future(anext(events))
        server.event = "succeeded"
        await server.start()
        assert (await waiting).type == FOUND
        assert [event.type async for event in events] == ["succeeded"]
    await client.close()
    await server.stop()


async def test_a_request_waits_for_a_service_that_is_restarting(
    client: CascadeClient, service: Service
) -> None:
    await service.stop()
    asking = asyncio.create_task(ask(client))
    await asyncio.sleep(0)
    await service.start()
    assert (await asking).state == "queued"


async def test_a_service_that_stays_away_is_not_ready_within_the_budget(service: Service) -> None:
    await service.stop()
    client = CascadeClient(service.url, budget_s=0.3)
    with pytest.raises(NotReady):
        await client.models()
    await client.close()


async def test_a_wrong_key_is_unauthorized(service: Service) -> None:
    service.make_key()
    client = CascadeClient(service.url, "csk_wrong")
    with pytest.raises(Unauthorized):
        await client.models()
    await client.close()


async def test_requests_carry_the_reference_that_a_person_is_shown() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("x-request-id", ""))
        return httpx.Response(200, json={"name": "a", "value": {}})

    client = CascadeClient("http://x", transport=httpx.MockTransport(answer))
    with referenced("REF1"):
        await client.preference("a")
    await client.preference("a")
    assert seen == ["REF1", ""]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error": 1}'])
async def test_an_answer_that_is_not_the_services_is_not_ready(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500, content=body))
    client = CascadeClient("http://x", budget_s=0.1, transport=transport)
    with pytest.raises(NotReady):
        await client.models()
