"""``/v1/boards``: the caller's named collections of pictures."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.responses import Response

from cascade_core.errors import Conflict, NotFound
from serve.gateway.auth.permissions import Caller, Editor, Viewer
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.library.outcomes import bulk_answer
from serve.gateway.schemas.boards import Board, BoardBody, BoardList, BulkAnswer, PicturesBody
from serve.storage.library.actions import Action, putting_on, taking_from
from serve.storage.records import JobOwner

_LOST = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)

router = new_router("library")


@router.get("/v1/boards", response_model=BoardList, responses=secured(HTTPStatus.BAD_REQUEST))
async def list_boards(services: ServicesDep, caller: Viewer) -> BoardList:
    """List the caller's boards, or all for an admin's key; newest first."""
    found = await services.database.run(services.database.boards.all, caller.viewpoint)
    return BoardList(boards=[Board.model_validate(board.to_json()) for board in found])


@router.post(
    "/v1/boards",
    status_code=HTTPStatus.CREATED,
    response_model=Board,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT),
)
async def create_board(services: ServicesDep, caller: Editor, body: BoardBody) -> Board:
    """Make an empty board; 409 if the owner has 200 already."""
    owner = JobOwner(caller.key_id, caller.user)
    board = await services.database.run(services.database.boards.create, owner, body.title)
    return Board.model_validate(board.to_json())


@router.patch("/v1/boards/{board_id}", response_model=Board, responses=secured(*_LOST))
async def rename_board(
    services: ServicesDep, caller: Editor, board_id: str, body: BoardBody
) -> Board:
    """Give a board another title."""
    rename = services.database.boards.rename
    check_id("board", board_id)
    await services.database.run(rename, caller.viewpoint, board_id, body.title)
    return await find_board(services, caller, board_id)


@router.delete(
    "/v1/boards/{board_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Deleted"}, **secured(*_LOST)},
)
async def delete_board(services: ServicesDep, caller: Editor, board_id: str) -> Response:
    """Delete a board; its pictures stay."""
    delete = services.database.boards.delete
    check_id("board", board_id)
    if not await services.database.run(delete, caller.viewpoint, board_id):
        raise NotFound("there is no such board")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put("/v1/boards/{board_id}/pictures", response_model=BulkAnswer, responses=secured(*_LOST))
async def put_on_board(
    services: ServicesDep, caller: Editor, board_id: str, body: PicturesBody
) -> BulkAnswer:
    """Put pictures on a board; those that are on it stay there."""
    return await _change(services, caller, board_id, body, putting_on)


@router.delete(
    "/v1/boards/{board_id}/pictures", response_model=BulkAnswer, responses=secured(*_LOST)
)
async def take_from_board(
    services: ServicesDep, caller: Editor, board_id: str, body: PicturesBody
) -> BulkAnswer:
    """Take pictures from a board; the pictures themselves stay."""
    return await _change(services, caller, board_id, body, taking_from)


async def find_board(services: Services, caller: Caller, board_id: str) -> Board:
    """Return a board.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    find = services.database.boards.all
    found = await services.database.run(find, caller.viewpoint, check_id("board", board_id))
    if not found:
        raise NotFound("there is no such board")
    return Board.model_validate(found[0].to_json())


async def _change(
    services: Services,
    caller: Caller,
    board_id: str,
    body: PicturesBody,
    action: Callable[[str], Action],
) -> BulkAnswer:
    await find_board(services, caller, board_id)
    change, wanted = services.database.pictures.change, action(board_id)
    outcome = await services.database.run(change, caller.viewpoint, body.ids, wanted)
    return bulk_answer(outcome, Conflict(wanted.reason))
