"""``/v1/library``: the caller's pictures, searched by the words of their prompts."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query

from cascade_core.errors import InvalidRequest
from serve.gateway.auth.permissions import Viewer
from serve.gateway.dependencies import ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.library import LibraryDay, LibraryPage, LibraryPicture, Timeline
from serve.storage.library.library_store import Place
from serve.storage.library.query import LibraryQuery

MAX_PAGE = 200

_CURSOR = re.compile(r"([A-Za-z0-9_.-]{1,64})\.(\d{1,4})")

SearchQuery = Annotated[
    str,
    Query(
        description='Words, `"phrases"`, `-excluded`, `begin*`; `kind:`, `seed:`, `size:512x512`, '
        "`after:2026-01-31`, `before:`, `star:yes`, `rating:>=3`, `tag:`, `-tag:`, "
        "`state:approved`, `board:ID`. "
        "All must hold."
    ),
]

router = new_router("library")


@router.get("/v1/library", response_model=LibraryPage, responses=secured(HTTPStatus.BAD_REQUEST))
async def search_library(
    services: ServicesDep,
    caller: Viewer,
    q: SearchQuery = "",
    cursor: Annotated[
        str, Query(description="`next_cursor` of a page: what follows it, in either order.")
    ] = "",
    order: Annotated[
        Literal["newest", "oldest"], Query(description="`oldest`: the oldest first.")
    ] = "newest",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> LibraryPage:
    """List the caller's pictures, or all for an admin's key; newest first, page by page."""
    query, after = LibraryQuery.parse(q), _place(cursor)
    page = partial(services.database.library.page, oldest_first=order == "oldest")
    found = await services.database.run(page, caller.viewpoint, query, after, limit + 1)
    items = found[:limit]
    return LibraryPage(
        items=[LibraryPicture.model_validate(item.to_json()) for item in items],
        next_cursor=f"{items[-1].job_id}.{items[-1].index}" if len(found) > limit else None,
    )


@router.get(
    "/v1/library/timeline", response_model=Timeline, responses=secured(HTTPStatus.BAD_REQUEST)
)
async def library_timeline(services: ServicesDep, caller: Viewer, q: SearchQuery = "") -> Timeline:
    """Count the pictures that a search finds, by day in UTC, latest first."""
    count = services.database.library.timeline
    days = await services.database.run(count, caller.viewpoint, LibraryQuery.parse(q))
    return Timeline(days=[LibraryDay(day=day, count=number) for day, number in days])


def _place(cursor: str) -> Place | None:
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest("cursor must be a next_cursor of this route", "cursor")
    return match[1], int(match[2])
