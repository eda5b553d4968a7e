"""The addresses of the page. They need no API key: what the page shows comes from the API."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from serve.studio.files import ASSETS, PAGE, StudioFiles

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PAGE_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}
"""Beside :data:`serve.responses.headers.DEFAULT_HEADERS`. A browser asks for the page each time:
it names the files of one release."""
ASSET_HEADERS = {"cache-control": "public, max-age=31536000, immutable"}


def studio_routes(files: StudioFiles) -> list[Route]:
    """Return the routes of the page, for GET and HEAD."""
    studio = _Studio(files)
    return [
        Route("/", studio.front),
        Route(f"{ASSETS}/{{digest}}/{{name:path}}", studio.asset),
        Route(PAGE, studio.page),
        Route(f"{PAGE}/{{view:path}}", studio.page),
    ]


class _Studio:
    def __init__(self, files: StudioFiles) -> None:
        self._files = files

    async def front(self, request: Request) -> Response:
        """Lead browsers to the page. For programs there is nothing at this address."""
        if "text/html" not in request.headers.get("accept", ""):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return RedirectResponse(PAGE)

    async def page(self, request: Request) -> Response:
        """Return the page, which reads from its address what it is to show."""
        view: str = request.path_params.get("view", "")
        if view.startswith("assets") or "." in view.rpartition("/")[2]:
            raise HTTPException(HTTPStatus.NOT_FOUND)  # of a file
        status = HTTPStatus.SERVICE_UNAVAILABLE if self._files.problem else HTTPStatus.OK
        return HTMLResponse(self._files.page(view), status, PAGE_HEADERS)

    async def asset(self, request: Request) -> Response:
        """Return a file of the page, which a browser may keep for ever."""
        found = self._files.asset(**request.path_params)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        content, media_type = found
        return Response(content, media_type=media_type, headers=ASSET_HEADERS)
