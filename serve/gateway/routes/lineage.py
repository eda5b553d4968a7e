"""``/v1/images/{id}/lineage``: what a picture was made from, and what was made from it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query
from starlette.responses import JSONResponse, Response

from serve.gateway.auth.permissions import Viewer
from serve.gateway.dependencies import ServicesDep
from serve.gateway.lookups import find_image
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.jobs import MAX_PAGE
from serve.gateway.schemas.images import Lineage

router = new_router("images")


@router.get(
    "/v1/images/{image_id}/lineage",
    response_model=Lineage,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def get_lineage(
    services: ServicesDep,
    caller: Viewer,
    image_id: str,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """List what an image was made from and, page by page, what was made from it.

    Also a deleted image has its lineage. One step is shown in each direction. An image that shows
    another one's latent with other details has no children: what is made from that latent descends
    from the image that the latent was made for.
    """
    image = await find_image(services, caller, image_id)
    lineage, viewpoint = services.database.lineage, caller.viewpoint
    parents = await services.database.run(lineage.parents, image, viewpoint)
    children, next_cursor = await services.database.run(
        lineage.children, image, viewpoint, cursor, limit
    )
    body = {
        "parents": [parent.to_json() for parent in parents],
        "children": [child.to_json() for child in children],
        "next_cursor": next_cursor,
    }
    return JSONResponse(body)
