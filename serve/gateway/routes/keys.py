"""``/v1/keys``: an admin makes, lists and revokes API keys."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request

from cascade_core.errors import Forbidden, InvalidRequest, Unauthorized
from serve.gateway.auth.permissions import Administrator, Caller
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.sessions import check_key
from serve.gateway.schemas.access import KeyAnswer, KeyList, NewKeyAnswer, NewKeyBody

router = new_router("access")


@router.get("/v1/keys", response_model=KeyList, responses=secured())
async def list_keys(services: ServicesDep, _caller: Administrator) -> KeyList:
    """List all API keys, oldest first, revoked ones included; needs an admin's key."""
    found = await services.database.run(services.database.keys.all)
    return KeyList(keys=[KeyAnswer.model_validate(key.to_json()) for key in found])


@router.post(
    "/v1/keys",
    status_code=HTTPStatus.CREATED,
    response_model=NewKeyAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST),
)
async def create_key(
    services: ServicesDep, caller: Administrator, request: Request, body: NewKeyBody
) -> NewKeyAnswer:
    """Make an API key and show its secret, this once; needs an admin's key.

    A session sends the key that it signed in with again. The first key of a service without keys
    ends the access of its own machine without a key.
    """
    if caller.session is not None:
        if body.key is None:
            raise InvalidRequest("key is missing: a session sends its own key again", "key")
        await _check_own_key(services, request, caller, body.key)
    create = services.database.keys.create
    key, token = await services.database.run(
        create, body.name, body.scopes, body.requests_per_minute, body.models
    )
    await services.key_cache.refresh()
    return NewKeyAnswer.model_validate(key.to_json() | {"token": token})


async def _check_own_key(services: Services, request: Request, caller: Caller, token: str) -> None:
    """Check that a token is the key that the caller's session belongs to.

    Raises:
        Forbidden: it is not. The answer is the same for another key and for none: the session
            itself is valid, and learns of no other key whether it is.
        RateLimited: too many wrong keys came from this client.
    """
    try:
        key_id = (await check_key(services, request, token)).id
    except Unauthorized:
        key_id = None
    if key_id != caller.key_id:
        raise Forbidden("this is not the key that signed in", "key")


@router.delete(
    "/v1/keys/{key_id}",
    response_model=KeyAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def revoke_key(services: ServicesDep, _caller: Administrator, key_id: str) -> KeyAnswer:
    """Revoke an API key, which ends its sessions and links; needs an admin's key.

    Revoking it again is no error. A service that has ever had a key answers none without one.
    """
    revoke = services.database.keys.revoke
    key = await services.database.run(revoke, check_id("key", key_id))
    await services.key_cache.refresh()
    return KeyAnswer.model_validate(key.to_json())
