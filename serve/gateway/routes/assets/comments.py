"""``/v1/assets/{id}/comments``: what people write of an asset."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from cascade_core.errors import Forbidden, InvalidRequest, NotFound
from serve.gateway.assets.sight import actor_of, find_asset
from serve.gateway.auth.permissions import Caller, Reader, Viewer
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.assets import CommentAnswer, CommentBody, CommentList, CommentPatch
from serve.storage.assets.asset import Actor
from serve.storage.assets.comment_store import Comment

_LOST = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)

router = new_router("assets")


@router.get(
    "/v1/assets/{image_id}/comments",
    response_model=CommentList,
    responses=secured(HTTPStatus.NOT_FOUND),
)
async def list_comments(services: ServicesDep, caller: Viewer, image_id: str) -> CommentList:
    """List the comments on an asset, oldest first."""
    asset = await find_asset(services, caller, image_id)
    reader = await actor_of(services, caller)
    found = await services.database.run(services.database.asset_comments.of_asset, asset.id)
    return CommentList(comments=[_answer(one, reader) for one in found])


@router.post(
    "/v1/assets/{image_id}/comments",
    status_code=HTTPStatus.CREATED,
    response_model=CommentAnswer,
    responses=secured(*_LOST, HTTPStatus.CONFLICT, HTTPStatus.GONE),
)
async def add_comment(
    services: ServicesDep, caller: Reader, image_id: str, body: CommentBody
) -> CommentAnswer:
    """Comment on an asset, perhaps on a point in it; its owner may, and keys with `review`.

    409 if it has 500 comments already.
    """
    if (body.x is None) != (body.y is None):
        raise InvalidRequest("x and y must be given together", "y" if body.y is None else "x")
    caller = await _commenting(services, caller.acting_for(body.user), image_id)
    author = await actor_of(services, caller)
    point = None if body.x is None or body.y is None else (body.x, body.y)
    add = services.database.asset_comments.add
    return _answer(await services.database.run(add, image_id, author, body.text, point), author)


@router.patch(
    "/v1/assets/{image_id}/comments/{comment_id}",
    response_model=CommentAnswer,
    responses=secured(*_LOST),
)
async def resolve_comment(
    services: ServicesDep, caller: Reader, image_id: str, comment_id: str, body: CommentPatch
) -> CommentAnswer:
    """Mark a comment as dealt with, or not; all may that may comment."""
    caller = await _commenting(services, caller.acting_for(body.user), image_id)
    stored = services.database.asset_comments
    found = await _find(services, image_id, comment_id)
    await services.database.run(
        lambda: stored.resolve(image_id, found.id, is_resolved=body.resolved)
    )
    reader = await actor_of(services, caller)
    return _answer(await _find(services, image_id, comment_id), reader)


@router.delete(
    "/v1/assets/{image_id}/comments/{comment_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Deleted"}, **secured(*_LOST)},
)
async def delete_comment(
    services: ServicesDep, caller: Viewer, image_id: str, comment_id: str
) -> Response:
    """Delete a comment; its author may, and an admin."""
    await _commenting(services, caller, image_id)
    found = await _find(services, image_id, comment_id)
    actor = await actor_of(services, caller)
    if not (found.author.is_same(actor) or caller.is_admin):
        raise Forbidden("the author of a comment alone may delete it")
    remove = services.database.asset_comments.remove
    await services.database.run(remove, image_id, comment_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _commenting(services: Services, caller: Caller, image_id: str) -> Caller:
    """Return the caller, if it may comment on an asset.

    Raises:
        NotFound: it does not see the asset.
        Forbidden: it may only look at it.
    """
    asset = await find_asset(services, caller, image_id)
    caller.require("create" if caller.sees(asset.owner) else "review")
    return caller


async def _find(services: Services, image_id: str, comment_id: str) -> Comment:
    find = services.database.asset_comments.get
    found = await services.database.run(find, image_id, check_id("comment", comment_id))
    if found is None:
        raise NotFound("there is no such comment")
    return found


def _answer(comment: Comment, reader: Actor) -> CommentAnswer:
    return CommentAnswer.model_validate(comment.to_json(reader))
