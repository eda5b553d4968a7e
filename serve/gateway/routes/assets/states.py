"""``/v1/assets``: pictures with a state, from draft to published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from cascade_core.errors import NotFound
from serve.gateway.assets.sight import actor_of, answer, find_asset, view_of
from serve.gateway.assets.transitions import transition, transition_all
from serve.gateway.auth.permissions import Reader, Viewer
from serve.gateway.dependencies import ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.images import delete_with_files
from serve.gateway.schemas.assets import (
    AssetAnswer,
    AssetCounts,
    AssetList,
    BulkTransition,
    BulkTransitionAnswer,
    EventAnswer,
    History,
    TransitionBody,
    TransitionResult,
)
from serve.storage.assets.asset import Asset
from serve.storage.assets.asset_store import Place
from serve.storage.schema.asset_states import AssetState

MAX_PAGE = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_CHANGED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

router = new_router("assets")


@router.get("/v1/assets", response_model=AssetList, responses=secured(HTTPStatus.BAD_REQUEST))
async def list_assets(
    services: ServicesDep,
    caller: Viewer,
    state: AssetState | None = None,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,17}\.[A-Za-z0-9_-]{1,64}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> AssetList:
    """List the assets that the caller sees, without drafts, page by page.

    Submitted ones come with the oldest submission first, all others with the latest change first.
    A key sees its own assets, and approved and published ones of all; with the scope `review` or
    `publish` it sees all that were ever submitted.
    """
    view, stored = view_of(services, caller), services.database.assets
    page = partial(stored.page, view, state, _place(cursor), limit + 1)
    found = await services.database.run(page)
    counts = await services.database.run(stored.counts, view)
    actor, shown = await actor_of(services, caller), found[:limit]
    return AssetList(
        assets=[AssetAnswer.model_validate(answer(services, caller, actor, one)) for one in shown],
        next_cursor=_cursor(shown[-1]) if len(found) > limit else None,
        counts=AssetCounts.model_validate(counts),
    )


@router.get(
    "/v1/assets/{image_id}", response_model=AssetAnswer, responses=secured(HTTPStatus.NOT_FOUND)
)
async def get_asset(services: ServicesDep, caller: Viewer, image_id: str) -> AssetAnswer:
    """Return a picture as an asset; one that was never submitted is a draft."""
    asset = await find_asset(services, caller, image_id)
    actor = await actor_of(services, caller)
    return AssetAnswer.model_validate(answer(services, caller, actor, asset))


@router.post(
    "/v1/assets/{image_id}/transitions",
    response_model=AssetAnswer,
    responses=secured(*_CHANGED),
)
async def change_asset(
    services: ServicesDep, caller: Reader, image_id: str, body: TransitionBody
) -> AssetAnswer:
    """Lead an asset to its next state: `submit`, `approve`, `reject`, `publish` and so on.

    `submit` and `withdraw` are its owner's and need the scope `create`; `approve`, `reject` and
    `reopen` need `review`; `publish`, `unpublish`, `archive` and `restore` need `publish`. An
    asset is approved by another person than the one that made or submitted it (`four_eyes`). A
    trusted key acts for the `user`. 409 if the asset is in another state or version.
    """
    return await transition(services, caller, image_id, body)


@router.post(
    "/v1/assets/transitions",
    response_model=BulkTransitionAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def change_assets(
    services: ServicesDep, caller: Reader, body: BulkTransition
) -> BulkTransitionAnswer:
    """Do the same with up to 500 assets; each is changed by itself, or not at all."""
    results = await transition_all(services, caller, body)
    return BulkTransitionAnswer(results=[TransitionResult.model_validate(one) for one in results])


@router.get(
    "/v1/assets/{image_id}/history",
    response_model=History,
    responses=secured(HTTPStatus.NOT_FOUND),
)
async def asset_history(services: ServicesDep, caller: Viewer, image_id: str) -> History:
    """List what was done with an asset, oldest first."""
    asset = await find_asset(services, caller, image_id)
    events = await services.database.run(services.database.audit.of_asset, asset.id)
    return History(events=[EventAnswer.model_validate(one.to_json()) for one in events])


@router.delete(
    "/v1/assets/{image_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Erased"}, **secured(HTTPStatus.NOT_FOUND)},
)
async def purge_asset(services: ServicesDep, caller: Reader, image_id: str) -> Response:
    """Erase an asset in any state, with its picture, comments and notes; needs an admin's key.

    Its events stay in the audit log, without what people wrote.
    """
    asset = await find_asset(services, caller, image_id)
    caller.require("admin")
    actor = await actor_of(services, caller)
    if not asset.is_deleted:
        await services.database.run(services.database.assets.release, asset.id, actor)
    if not await delete_with_files(services, asset.id):
        raise NotFound("there is no such asset")
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _cursor(last: Asset) -> str:
    assert last.changed_at is not None  # drafts are not listed
    return f"{(last.changed_at - _EPOCH) // _US}.{last.id}"


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    at_us, _, image_id = cursor.partition(".")
    return _EPOCH + int(at_us) * _US, image_id
