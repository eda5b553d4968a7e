"""``/v1/images/{id}/share`` and ``/v1/shared``: links to one image that need no API key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from serve.gateway.auth.permissions import Viewer
from serve.gateway.auth.signed_links import SHARED_FOLDER, Link
from serve.gateway.dependencies import ServicesDep
from serve.gateway.lookups import find_image, find_shared_image, not_deleted
from serve.gateway.openapi import errors, new_router, secured
from serve.gateway.public_address import public_address
from serve.gateway.routes.images import (
    IMAGE_CONTENT,
    LOST,
    FormatQuery,
    image_response,
)
from serve.gateway.schemas.service import ShareAnswer, ShareBody
from serve.storage.blobs.converted_images import Variant
from serve.storage.records import iso_utc

CACHING = {
    "cache-control": "private, max-age=60",  # a browser may show an ended link for so long
    "cross-origin-resource-policy": "cross-origin",
    # A browser fits a picture that is opened by itself into its window by styles of its own.
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    ),
}

router = new_router("images")


@router.post(
    "/v1/images/{image_id}/share",
    response_model=ShareAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, *LOST),
)
async def share_image(
    services: ServicesDep,
    caller: Viewer,
    request: Request,
    image_id: str,
    body: ShareBody | None = None,
) -> ShareAnswer:
    """Make a link to an image that needs no API key.

    It ends when it expires, when the image is deleted, when the key that made it is revoked, and by
    `DELETE`.
    """
    wanted = body or ShareBody()
    image = not_deleted(await find_image(services, caller, image_id))
    has_metadata = wanted.metadata == "all"
    path, expires_at = await services.share_links.make(
        image.id, wanted.expires_in_s, caller.key_id, has_metadata=has_metadata
    )
    base_url = public_address(services.settings, request) or ""
    return ShareAnswer(url=base_url + path, expires_at=iso_utc(expires_at) or "")


@router.delete(
    "/v1/images/{image_id}/share",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Ended"}, **secured(*LOST)},
)
async def end_links(services: ServicesDep, caller: Viewer, image_id: str) -> Response:
    """End all links to an image, also those of other keys; later links are valid."""
    image = not_deleted(await find_image(services, caller, image_id))
    await services.share_links.end(image.id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    SHARED_FOLDER + "{image_id}",
    response_class=Response,
    responses={
        200: {"description": "The image", "content": IMAGE_CONTENT},
        304: {"description": "The client has it already (`If-None-Match`)"},
        **errors(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
            *LOST,
        ),
    },
)
async def get_shared_image(
    services: ServicesDep,
    request: Request,
    image_id: str,
    expires: str = "",
    key: str = "",
    metadata: Annotated[str, Query(description="The value in the link.")] = "",
    ending: Annotated[str, Query(alias="round", description="The value in the link.")] = "",
    signature: str = "",
    image_format: FormatQuery = None,
) -> Response:
    """Return an image by a link that `share` made."""
    link = Link(image_id=image_id, expires=expires, key=key, metadata=metadata, round=ending)
    await services.share_links.check(link, signature)
    services.shared_image_limiter.take(image_id, request.client.host if request.client else "")
    image = await find_shared_image(services, image_id)
    variant = Variant(image_format or image.format, "none" if metadata else "all")
    return await image_response(services, request, image, variant, CACHING)
