"""``PATCH /v1/images/{id}``: what the owner of a picture notes of it."""

from __future__ import annotations

from http import HTTPStatus

from cascade_core.errors import Gone
from serve.gateway.auth.permissions import Editor
from serve.gateway.dependencies import ServicesDep
from serve.gateway.lookups import find_image, not_deleted
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.library import ImagePatch, LibraryPicture

router = new_router("library")


@router.patch(
    "/v1/images/{image_id}",
    response_model=LibraryPicture,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
)
async def mark_image(
    services: ServicesDep, caller: Editor, image_id: str, body: ImagePatch
) -> LibraryPicture:
    """Change the star, the rating or the tags of an image; returns it as the library shows it."""
    not_deleted(await find_image(services, caller, image_id))
    change = services.database.library.change_marks
    item = await services.database.run(change, caller.viewpoint, image_id, body.applied_to)
    if item is None:
        raise Gone("this image was deleted")
    return LibraryPicture.model_validate(item.to_json())
