"""The cookie that holds a browser's session: its name, how it is read, set and deleted."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

_NAME = "cascade"
_HTTPS_NAME = "__Host-cascade"
"""Browsers take a cookie of such a name only over https, from this very host and for all paths."""


def session_token(scope: Scope, public_url: str) -> str | None:
    """Return the value of a request's session cookie, if it has one.

    Args:
        scope: of the request.
        public_url: the address by which clients reach the service, if it is set.
    """
    return HTTPConnection(scope).cookies.get(_name(_is_https(scope, public_url)))


def set_session_cookie(
    response: Response, scope: Scope, public_url: str, token: str, max_age_s: int
) -> None:
    """Have a browser keep a session: no script can read it, no other site's page can send it."""
    is_https = _is_https(scope, public_url)
    response.set_cookie(
        _name(is_https), token, max_age_s, secure=is_https, httponly=True, samesite="strict"
    )


def delete_session_cookie(response: Response, scope: Scope, public_url: str) -> None:
    """Have a browser forget its session."""
    is_https = _is_https(scope, public_url)
    response.delete_cookie(_name(is_https), secure=is_https, httponly=True, samesite="strict")


def _is_https(scope: Scope, public_url: str) -> bool:
    """Return True if clients use https; behind a proxy the scope itself says http."""
    return "https" in (scope["scheme"], urlsplit(public_url).scheme)


def _name(is_https: bool) -> str:
    return _HTTPS_NAME if is_https else _NAME
