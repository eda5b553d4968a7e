"""``/v1/preferences``: small JSON values that a client keeps here by name."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from cascade_core.errors import NotFound
from serve.gateway.auth.permissions import Caller, Editor, Viewer
from serve.gateway.dependencies import ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.service import Preference, PreferenceBody
from serve.storage.records import JobOwner

router = new_router("preferences")


@router.get(
    "/v1/preferences/{name}",
    response_model=Preference,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def get_preference(services: ServicesDep, caller: Viewer, name: str) -> Preference:
    """Return the value that the caller, or the end user it acts for, keeps under a name."""
    store = services.database.preferences
    value = await services.database.run(store.get, _owner(caller), check_id("preference", name))
    if value is None:
        raise NotFound("there is no such preference")
    return Preference(name=name, value=value)


@router.put(
    "/v1/preferences/{name}",
    response_model=Preference,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def put_preference(
    services: ServicesDep, caller: Editor, name: str, body: PreferenceBody
) -> Preference:
    """Keep a value under a name; it replaces an earlier one."""
    store = services.database.preferences
    await services.database.run(store.put, _owner(caller), check_id("preference", name), body.value)
    return Preference(name=name, value=body.value)


@router.delete(
    "/v1/preferences/{name}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={
        204: {"description": "Deleted"},
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    },
)
async def delete_preference(services: ServicesDep, caller: Editor, name: str) -> Response:
    """Delete a value; deleting it again is no error."""
    store = services.database.preferences
    await services.database.run(store.delete, _owner(caller), check_id("preference", name))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _owner(caller: Caller) -> JobOwner:
    return JobOwner(caller.key_id, caller.user)
