"""``/v1/images/{id}/share`` and ``/v1/shared``: one image for people without an API key."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from serve.gateway.auth.permissions import Viewer
from serve.gateway.auth.signed_links import SHARED_FOLDER, Link, ShareLinks
from serve.gateway.public_address import public_address
from serve.gateway.rate_limiter import RateLimiter
from serve.gateway.routes.images import (
    IMAGE_CONTENT,
    LOST,
    FormatQuery,
    find_image,
    image_response,
    ready_image,
)
from serve.gateway.routes.route_parts import Needs, errors, secured
from serve.gateway.schemas.bodies import ShareAnswer, ShareBody
from serve.storage.blobs.converted_images import Variant
from serve.storage.records import iso_utc

PER_IMAGE, PER_CLIENT = 1200, 300
"""Requests per minute that a gateway process answers."""
CACHING = {
    "cache-control": "private, max-age=60",  # so long may a link outlive its end in a browser
    "cross-origin-resource-policy": "cross-origin",
}

router = APIRouter(tags=["images"])


class SharedLimits:
    """How often shared images may be asked for, of which no API key keeps count.

    Args:
        knows_clients: requests come from the address of who asks, not from a proxy's.
    """

    def __init__(self, knows_clients: bool) -> None:
        self._knows_clients = knows_clients
        self._images = RateLimiter("this picture may be asked for {} times per minute")
        self._clients = RateLimiter("you may ask for {} shared pictures per minute")

    def take(self, image_id: str, address: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the image, or this client, was asked for or has asked too often.
        """
        if self._knows_clients:
            self._clients.take(_household(address), PER_CLIENT)
        self._images.take(image_id, PER_IMAGE)


@router.post(
    "/v1/images/{image_id}/share",
    response_model=ShareAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, *LOST),
)
async def share_image(
    services: Needs,
    caller: Viewer,
    request: Request,
    image_id: str,
    body: ShareBody | None = None,
) -> ShareAnswer:
    """Make a link to an image that needs no API key.

    It ends when it expires, when the image is deleted, and when the key that made it is revoked.
    """
    wish = body or ShareBody()
    image = await find_image(services, caller, image_id)
    links: ShareLinks = request.app.state.share_links
    has_metadata = wish.metadata == "all"
    path, expires_at = await links.make(
        image.id, wish.expires_in_s, caller.key_id, has_metadata=has_metadata
    )
    base_url = public_address(services.settings, request) or ""
    return ShareAnswer(url=base_url + path, expires_at=iso_utc(expires_at) or "")


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
    services: Needs,
    request: Request,
    image_id: str,
    expires: str = "",
    key: str = "",
    metadata: Annotated[str, Query(description="As the link has it.")] = "",
    signature: str = "",
    image_format: FormatQuery = None,
) -> Response:
    """Return an image by a link that `share` made."""
    links: ShareLinks = request.app.state.share_links
    limits: SharedLimits = request.app.state.shared_limits
    link = Link(image_id=image_id, expires=expires, key=key, metadata=metadata)
    await links.check(link, signature)
    limits.take(image_id, request.client.host if request.client else "")
    image = await ready_image(services, image_id)
    variant = Variant(image_format or image.format, "none" if metadata else "all")
    return await image_response(services, request, image, variant, CACHING)


def _household(address: str) -> str:
    """Return what one client may not change at will: of an IPv6 address, its network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
