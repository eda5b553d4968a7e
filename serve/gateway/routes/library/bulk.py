"""``POST /v1/images/bulk``: one thing done with many pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from cascade_core.errors import AssetProtected, Conflict, InvalidRequest
from serve.gateway.auth.permissions import Caller, Editor
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.images import delete_with_files
from serve.gateway.routes.library.boards import find_board
from serve.gateway.routes.library.outcomes import bulk_answer
from serve.gateway.schemas.boards import BulkAnswer, BulkBody
from serve.storage.library.actions import (
    Action,
    putting_on,
    rating,
    starring,
    tagging,
    taking_from,
    unstarring,
    untagging,
)
from serve.storage.library.marks import MAX_RATING, tag_of
from serve.storage.library.picture_changes import MAX_PICTURES, Outcome
from serve.storage.library.query import LibraryQuery

_DELETED_AT_ONCE: Final = 4
"""Each of them needs a connection to the database."""
_KEPT: Final = "it is an asset that is submitted, approved, published or archived"
_PLAIN: Final[dict[str, Callable[[], Action]]] = {"star": starring, "unstar": unstarring}
_BY_TAG: Final[dict[str, Callable[[str], Action]]] = {"tag": tagging, "untag": untagging}
_BY_BOARD: Final[dict[str, Callable[[str], Action]]] = {
    "add_to_board": putting_on,
    "remove_from_board": taking_from,
}

router = new_router("library")


@router.post(
    "/v1/images/bulk",
    response_model=BulkAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def change_images(services: ServicesDep, caller: Editor, body: BulkBody) -> BulkAnswer:
    """Star, rate, tag, delete or put on a board up to 500 images, by their ids or by a search.

    With `q` a request changes up to 500 of the images that the search finds: send it again as long
    as the answer says `more`. `failed` names what could not be changed, and why.
    """
    if (body.ids is None) == (body.q is None):
        raise InvalidRequest("either ids or q must be given", "ids")
    query = None if body.q is None else LibraryQuery.parse(body.q)
    if body.action == "delete":
        _check_no_value(body)
        if body.q and query == LibraryQuery():
            raise InvalidRequest("q has no word to search for, and would delete all images", "q")
        return bulk_answer(await _delete(services, caller, body, query), AssetProtected(_KEPT))
    action = await _action(services, caller, body)
    pictures, viewpoint = services.database.pictures, caller.viewpoint
    if query is not None:
        outcome = await services.database.run(pictures.change_found, viewpoint, query, action)
    else:
        outcome = await services.database.run(pictures.change, viewpoint, body.ids or (), action)
    return bulk_answer(outcome, Conflict(action.reason))


async def _delete(
    services: Services, caller: Caller, body: BulkBody, query: LibraryQuery | None
) -> Outcome:
    """Delete pictures, each as if it were deleted alone."""
    pictures, viewpoint, asked = services.database.pictures, caller.viewpoint, body.ids or []
    if query is not None:
        find, most = pictures.deletable_found, MAX_PICTURES + 1
        found, kept = await services.database.run(find, viewpoint, query, most)
    else:
        found, kept = await services.database.run(pictures.deletable, viewpoint, asked)
    ids, deleted = found[:MAX_PICTURES], 0
    for start in range(0, len(ids), _DELETED_AT_ONCE):
        some = ids[start : start + _DELETED_AT_ONCE]
        deleted += sum(await asyncio.gather(*(delete_with_files(services, one) for one in some)))
    missing = sorted(set(asked) - set(ids) - set(kept))
    return Outcome(deleted, missing, kept, has_more=len(found) > MAX_PICTURES)


async def _action(services: Services, caller: Caller, body: BulkBody) -> Action:
    """Return what to do with the pictures.

    Raises:
        InvalidRequest: the value does not fit the action.
        NotFound: there is no such board.
    """
    verb, value = body.action, body.value
    if verb in _PLAIN:
        _check_no_value(body)
        return _PLAIN[verb]()
    if verb == "rate":
        if not isinstance(value, int) or not 0 <= value <= MAX_RATING:
            message = f"value must be a whole number between 0 and {MAX_RATING}"
            raise InvalidRequest(message, "value")
        return rating(value)
    if not isinstance(value, str):
        what = "a tag" if verb in _BY_TAG else "the id of a board"
        raise InvalidRequest(f"value must be {what}", "value")
    if verb in _BY_TAG:
        try:
            return _BY_TAG[verb](tag_of(value))
        except ValueError as error:
            raise InvalidRequest(f"value: {error}", "value") from error
    return _BY_BOARD[verb]((await find_board(services, caller, value)).id)


def _check_no_value(body: BulkBody) -> None:
    if body.value is not None:
        raise InvalidRequest(f"{body.action} takes no value", "value")
