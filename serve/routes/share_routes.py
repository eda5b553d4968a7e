"""``/v1/images/{id}/share`` and ``/v1/shared``: one image for people without an API key."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from serve.access import Viewer
from serve.records import iso_utc
from serve.routes.image_routes import (
    IMAGE_CONTENT,
    LOST,
    FormatQuery,
    find_image,
    image_response,
    ready_image,
)
from serve.routes.shared import Needs, errors, secured
from serve.schemas import ShareAnswer, ShareBody
from serve.share import SHARED_FOLDER, ShareLinks

router = APIRouter(tags=["images"])


@router.post(
    "/v1/images/{image_id}/share",
    response_model=ShareAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, *LOST),
)
async def share_image(
    services: Needs, caller: Viewer, request: Request, image_id: str, body: ShareBody
) -> ShareAnswer:
    """Make a link to an image that needs no API key, until it expires or the image is deleted."""
    image = await find_image(services, caller, image_id)
    base_url = services.settings.public_url or str(request.base_url)
    links: ShareLinks = request.app.state.share_links
    url, expires_at = await services.database.run(links.make, base_url, image.id, body.expires_in_s)
    return ShareAnswer(url=url, expires_at=iso_utc(expires_at) or "")


@router.get(
    SHARED_FOLDER + "{image_id}",
    response_class=Response,
    responses={
        200: {"description": "The image", "content": IMAGE_CONTENT},
        **errors(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, *LOST),
    },
)
async def get_shared_image(
    services: Needs,
    request: Request,
    image_id: str,
    expires: str = "",
    signature: str = "",
    image_format: FormatQuery = None,
) -> Response:
    """Return an image by a link that `share` made."""
    links: ShareLinks = request.app.state.share_links
    await services.database.run(links.check, image_id, expires, signature)
    return await image_response(services, await ready_image(services, image_id), image_format)
