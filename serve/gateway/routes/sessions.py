"""``/v1/sessions`` and ``/v1/me``: signing in with a browser, and the sender of a request."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from starlette.responses import Response

from cascade_core.errors import Conflict, CrossOrigin, Forbidden, NotFound, Unauthorized
from serve.gateway.auth.permissions import Caller, Reader
from serve.gateway.auth.same_origin import foreign_header
from serve.gateway.auth.session_cookie import delete_session_cookie, set_session_cookie
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import errors, new_router, secured
from serve.gateway.schemas.access import KeyAnswer, Me, SessionAnswer, SessionList, SignInBody
from serve.storage.access.credentials import ApiKey, find_valid
from serve.storage.access.sessions import LIFETIME, Session

router = new_router("access")


@router.post(
    "/v1/sessions",
    status_code=HTTPStatus.CREATED,
    response_model=SessionAnswer,
    responses=errors(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def sign_in(
    services: ServicesDep, request: Request, response: Response, body: SignInBody
) -> SessionAnswer:
    """Sign in with an API key; the answer sets a cookie that stands for the key from then on.

    Only pages of this service may send the cookie. The session ends 7 days later, after 12 hours
    without use, and when the key is revoked. 409 while the service has no keys.
    """
    settings = services.settings
    if foreign_header(request.headers, settings.public_url) is not None:
        raise CrossOrigin("a page of another site cannot sign in here")
    key = await check_key(services, request, body.key)
    if not key.scopes & {"read", "admin"}:
        raise Forbidden("a key without the scope 'read' cannot sign in")
    session, token = await services.database.run(services.database.sessions.create, key.id)
    max_age_s = int(LIFETIME.total_seconds())
    set_session_cookie(response, request.scope, settings.public_url, token, max_age_s)
    return _answer(session, is_current=True)


@router.get("/v1/sessions", response_model=SessionList, responses=secured())
async def list_sessions(services: ServicesDep, caller: Reader) -> SessionList:
    """List the browsers that have signed in with the caller's key, latest first."""
    found = await services.database.run(services.database.sessions.all)
    keys = await services.key_cache.keys()
    own = [one for one in found if one.key_id == caller.key_id and one.is_valid(keys[one.key_id])]
    return SessionList(sessions=[_answer(one, is_current=_is_own(one, caller)) for one in own])


@router.delete(
    "/v1/sessions/{session_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Ended"}, **secured(HTTPStatus.NOT_FOUND)},
)
async def sign_out(
    services: ServicesDep, caller: Reader, request: Request, session_id: str
) -> Response:
    """End a session of the caller's key; `current` is the one that sends the request."""
    session = caller.session
    is_current = session is not None and session_id in ("current", session.id)
    found = session.id if session is not None and is_current else check_id("session", session_id)
    end = services.database.sessions.end
    if not await services.database.run(end, caller.key_id or "", found):
        raise NotFound("there is no such session")
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    if is_current:
        delete_session_cookie(response, request.scope, services.settings.public_url)
    return response


@router.get("/v1/me", response_model=Me, responses=secured())
async def get_me(services: ServicesDep, caller: Reader) -> Me:
    """Return the key, and the session, that a request is sent with."""
    keys = await services.key_cache.keys()
    key = keys[caller.key_id].to_json() if caller.key_id is not None else None
    session = caller.session
    return Me(
        key=KeyAnswer.model_validate(key) if key is not None else None,
        session=_answer(session, is_current=True) if session is not None else None,
    )


async def check_key(services: Services, request: Request, token: str) -> ApiKey:
    """Return the key of a token that a request's body brings.

    Raises:
        Conflict: the service has no keys.
        RateLimited: too many wrong keys came from this client, or too many requests with this key.
        Unauthorized: it is no valid key.
    """
    keys = await services.key_cache.keys()
    if not keys:
        raise Conflict("this service has no API keys: its own machine needs none")
    key = find_valid(token, keys)
    address = request.client.host if request.client else ""
    services.sign_in_limiter.take(None if key is None else key.id, address)
    if key is None:
        raise Unauthorized("this is no valid API key")
    return key


def _answer(session: Session, *, is_current: bool) -> SessionAnswer:
    return SessionAnswer.model_validate(session.to_json() | {"is_current": is_current})


def _is_own(session: Session, caller: Caller) -> bool:
    return caller.session is not None and session.id == caller.session.id
