"""``/v1/comparisons``: models, or settings of one, side by side from one prompt and one seed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from sse_starlette import ServerSentEvent
from starlette.responses import JSONResponse, Response

from cascade_core.errors import Conflict, InvalidRequest, NotFound
from cascade_core.job_states import RESTING_STATES
from serve.gateway.auth.permissions import Caller, Creator, Viewer
from serve.gateway.comparisons.accepting import accept
from serve.gateway.comparisons.answers import answers, picture_id, vote_answer
from serve.gateway.dependencies import HeldOpen, IdempotencyKeyHeader, Services, ServicesDep
from serve.gateway.events.sse import EventStream, event_body
from serve.gateway.lookups import check_id
from serve.gateway.openapi import event_stream_content, new_router, secured
from serve.gateway.schemas.comparisons import (
    ComparisonAnswer,
    ComparisonBody,
    ComparisonList,
    VoteAnswer,
    VoteBody,
)
from serve.storage.comparisons.comparison import Comparison

MAX_PAGE = 50

router = new_router("comparisons")


@router.post(
    "/v1/comparisons",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ComparisonAnswer,
    responses={
        202: {
            "description": "Accepted, with all of its jobs",
            "headers": {
                "Location": {"description": "The comparison.", "schema": {"type": "string"}}
            },
        },
        **secured(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.CONFLICT,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def create_comparison(
    services: ServicesDep,
    caller: Creator,
    body: ComparisonBody,
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Accept a comparison: one job for each of `models`, or of `settings`, from the same seed.

    Without a `seed` one is drawn for all. Nothing is accepted unless every entry can be.
    """
    comparison = await accept(services, caller, body, idempotency_key)
    (answer,) = await answers(services, [comparison])
    where = {"location": f"/v1/comparisons/{comparison.id}"}
    return JSONResponse(answer, HTTPStatus.ACCEPTED, where)


@router.get(
    "/v1/comparisons", response_model=ComparisonList, responses=secured(HTTPStatus.BAD_REQUEST)
)
async def list_comparisons(
    services: ServicesDep,
    caller: Viewer,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> Response:
    """List the caller's comparisons, or all for an admin's key; newest first, page by page."""
    page = services.database.comparisons.page
    found, next_cursor = await services.database.run(page, caller.viewpoint, cursor, limit)
    shown = await answers(services, found)
    return JSONResponse({"comparisons": shown, "next_cursor": next_cursor})


@router.get(
    "/v1/comparisons/{comparison_id}",
    response_model=ComparisonAnswer,
    responses=secured(HTTPStatus.NOT_FOUND),
)
async def get_comparison(services: ServicesDep, caller: Viewer, comparison_id: str) -> Response:
    """Return a comparison as it stands: what each entry made, and what that took."""
    (answer,) = await answers(services, [await _find(services, caller, comparison_id)])
    return JSONResponse(answer)


@router.get(
    "/v1/comparisons/{comparison_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-Sent Events of all its jobs, each with its `job_id`, past ones "
            "first; then `ended` with the comparison, after which the stream ends. A client that "
            "connects again gets them all again.",
            # serve.gateway.schemas.examples has the example: it names a stage of the family.
            "content": event_stream_content(
                "", "queued", "progress", "rejected", "image", *RESTING_STATES, "ended"
            ),
        },
        **secured(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)
async def follow_comparison(
    services: ServicesDep, caller: Viewer, comparison_id: str, _held: HeldOpen
) -> Response:
    """Stream the events of a comparison's jobs until all of them have ended."""
    comparison = await _find(services, caller, comparison_id)
    return EventStream(_messages(services, comparison), services.keep_alive_s)


@router.post(
    "/v1/comparisons/{comparison_id}/votes",
    response_model=VoteAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def vote(
    services: ServicesDep, caller: Creator, comparison_id: str, body: VoteBody
) -> Response:
    """Vote for a picture of a pair; the answer tells what both were.

    The voter is the key, or the `user` of a trusted one; another user may have asked for the
    comparison. A voter's first choice for a pair counts, and a later one is answered with it. 409
    if a picture of the pair is not there.
    """
    comparison = await _find(services, caller, comparison_id)
    if body.pair >= len(comparison.pairs):
        last = len(comparison.pairs) - 1
        raise InvalidRequest(f"pair must be between 0 and {last}", "pair")
    pair = comparison.pairs[body.pair]
    sides = [comparison.job_ids[entry] for entry in (pair.left, pair.right)]
    database = services.database
    read = await database.run(database.jobs.with_last_event_ids, sides)
    jobs = {job.id: job for job, _ in read}
    if not all(picture_id(jobs.get(job_id), pair.image_index) for job_id in sides):
        raise Conflict("a picture of this pair is not there", "pair")
    stored, voter = database.comparisons, caller.owner(body.user)
    choice = await database.run(stored.vote, comparison.id, pair.index, voter, body.choice)
    votes = await database.run(stored.votes, [comparison.id])
    return JSONResponse(vote_answer(comparison, pair, choice, votes[comparison.id]))


async def _find(services: Services, caller: Caller, comparison_id: str) -> Comparison:
    """Return a comparison.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    find = services.database.comparisons.get
    found = await services.database.run(find, check_id("comparison", comparison_id))
    if found is None or not caller.sees(found.owner):
        raise NotFound("there is no such comparison")
    return found


async def _messages(services: Services, comparison: Comparison) -> AsyncGenerator[ServerSentEvent]:
    database, hub = services.database, services.event_hub
    known = await database.run(database.jobs.with_last_event_ids, comparison.job_ids)
    async with aclosing(hub.follow_all({job.id: 0 for job, _ in known})) as events:
        async for event in events:
            yield _message(event.type, {"job_id": event.job_id, **event_body(event)}, event.id)
    (answer,) = await answers(services, [comparison])
    yield _message("ended", answer)


def _message(event: str, data: dict[str, Any], event_id: int | None = None) -> ServerSentEvent:
    text = json.dumps(data, separators=(",", ":"))
    name = None if event_id is None else str(event_id)
    return ServerSentEvent(data=text, event=event, id=name, sep="\n")
