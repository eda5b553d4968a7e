"""``/v1/images`` and ``/v1/latents``: the images and latents that jobs made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from cascade_core.errors import Conflict, Gone, NotFound
from cascade_core.job_states import LIVE_STATES
from cascade_core.operations.fields import ImageFormat
from serve.gateway.assets.sight import find_seen_image
from serve.gateway.auth.permissions import Caller, Editor, Viewer
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id, check_sees, find_image, not_deleted
from serve.gateway.openapi import new_router, secured
from serve.storage.blobs.blob_keys import handoff_key, image_keys, latent_key, preview_key_from_name
from serve.storage.blobs.converted_images import Metadata, Variant
from serve.storage.lineage import MAX_NAMED
from serve.storage.records import ImageRow, Job, LatentRow

MSGPACK = "application/vnd.msgpack"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
IMAGE_CONTENT = {f"image/{name}": _BINARY for name in ("png", "webp", "jpeg")}
ID_HEADERS = {
    "X-Latent-Id": {"description": "The image's latent.", "schema": {"type": "string"}},
    "X-Job-Id": {"description": "The job that made it.", "schema": {"type": "string"}},
}
SOURCE_HEADERS = {
    "X-Source-Latent-Id": {
        "description": "The stored latent that it was made from, if it was made from one.",
        "schema": {"type": "string"},
    },
}
DEPENDANT_HEADERS = {
    "X-Dependant-Count": {
        "description": "How many images were made from its latent, or are being made.",
        "schema": {"type": "integer"},
    },
    "X-Dependant-Ids": {
        "description": f"Their ids, with commas; the newest {MAX_NAMED} at most.",
        "schema": {"type": "string"},
    },
}
LOST: tuple[HTTPStatus, ...] = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

OWN_CACHING = {
    "cache-control": "private, max-age=86400, immutable",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Cookie",
}
"""With another session a browser does not show what it has cached: another person may use it."""

THUMBNAIL_CACHING = OWN_CACHING | {"cache-control": "private, max-age=31536000, immutable"}

ThumbnailQuery = Annotated[
    Literal["256", "512"],
    Query(alias="w", description="The longest side, in pixels, at most."),
]
MetadataQuery = Annotated[
    Metadata, Query(description="`none`: without the request and ids inside the file.")
]
FormatQuery = Annotated[
    ImageFormat | None,
    Query(alias="format", description="Converted to this; else the original bytes."),
]

router = new_router("images")


@router.get(
    "/v1/images/{image_id}",
    response_class=Response,
    responses={
        200: {
            "description": "The image",
            "content": IMAGE_CONTENT,
            "headers": ID_HEADERS | SOURCE_HEADERS,
        },
        304: {"description": "The client has it already (`If-None-Match`)"},
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE, *LOST),
    },
)
async def get_image(
    services: ServicesDep,
    caller: Viewer,
    image_id: str,
    request: Request,
    image_format: FormatQuery = None,
    metadata: MetadataQuery = "all",
) -> Response:
    """Return an image, with its request and ids in its metadata.

    A caller gets its own ones, and those of others that it sees as assets.
    """
    image = not_deleted(await find_seen_image(services, caller, image_id))
    variant = Variant(image_format or image.format, metadata)
    response = await image_response(services, request, image, variant, OWN_CACHING)
    response.headers["x-latent-id"] = image.latent_id
    response.headers["x-job-id"] = image.job_id
    if image.source_latent_id is not None:
        response.headers["x-source-latent-id"] = image.source_latent_id
    return response


@router.get(
    "/v1/thumbs/{image_id}",
    response_class=Response,
    responses={
        200: {"description": "The thumbnail", "content": {"image/webp": _BINARY}},
        304: {"description": "The client has it already (`If-None-Match`)"},
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE, *LOST),
    },
)
async def get_thumbnail(
    services: ServicesDep,
    caller: Viewer,
    image_id: str,
    request: Request,
    side_px: ThumbnailQuery = "256",
) -> Response:
    """Return a small WebP of an image, made with it; an older image's at the first request.

    50 of them count as one request of the key or session.
    """
    image = not_deleted(await find_seen_image(services, caller, image_id))
    variant = Variant.thumbnail(int(side_px))
    return await image_response(services, request, image, variant, THUMBNAIL_CACHING)


@router.delete(
    "/v1/images/{image_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={
        204: {"description": "Deleted", "headers": DEPENDANT_HEADERS},
        **secured(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    },
)
async def delete_image(services: ServicesDep, caller: Editor, image_id: str) -> Response:
    """Delete an image with its previews and its latent; deleting it again is no error.

    Images made from it stay as they are, and the answer names them. The latent stays while another
    image shows it with other details, or an open job starts from it. 409 `asset_protected` if it is
    an asset that is submitted, approved, published or archived.
    """
    found = await find_image(services, caller, image_id)
    dependants = await services.database.run(
        services.database.lineage.dependants, found, caller.viewpoint
    )
    if not await delete_with_files(services, image_id):
        raise NotFound("there is no such image")
    headers = {"x-dependant-count": str(dependants.count)}
    if dependants.image_ids:
        headers["x-dependant-ids"] = ",".join(dependants.image_ids)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


@router.get(
    "/v1/latents/{latent_id}",
    response_class=Response,
    responses={
        200: {"description": "A stage's hand-off to the next one", "content": {MSGPACK: _BINARY}},
        **secured(HTTPStatus.CONFLICT, *LOST),
    },
)
async def get_latent(services: ServicesDep, caller: Viewer, latent_id: str) -> Response:
    """Return an image's latent as msgpack; `cascade_core.handoff` decodes it.

    404 before its preview is stored or its picture is made.
    """
    row = await _find_latent(services, caller, latent_id)
    if row.deleted_at is not None:
        raise Gone("this latent was deleted")
    job = await services.database.run(services.database.jobs.get, row.job_id)
    if job is None or not job.shows_latent(latent_id):
        raise NotFound("there is no such latent")
    data = await services.blobs.get_known(latent_key(latent_id), "this latent")
    return Response(data, media_type=MSGPACK)


@router.delete(
    "/v1/latents/{latent_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={
        204: {"description": "Deleted"},
        **secured(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    },
)
async def delete_latent(services: ServicesDep, caller: Editor, latent_id: str) -> Response:
    """Delete a composition that became no picture; deleting it again is no error.

    Its previews go with it, and all other compositions of the same image (`redone`). The latent
    stays while another image shows it, or an open job starts from it. 409 if its job has
    not ended, or if its image has a picture: to delete that takes the composition along.
    """
    latent = await _find_latent(services, caller, latent_id)
    found = await services.database.run(services.database.images.composed_as, latent)
    if found is not None:
        image, state = found
        if image.ready and image.deleted_at is None:
            is_shown = image.latent_id == latent_id
            which = "this composition" if is_shown else "the composition that replaced this one"
            message = f"image {image.id} shows {which}; delete it, and its compositions go with it"
            raise Conflict(message)
        if state in LIVE_STATES:
            raise Conflict("its job has not ended; cancel the job first")
        await delete_with_files(services, image.id, if_made=False)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _find_latent(services: Services, caller: Caller, latent_id: str) -> LatentRow:
    """Return a latent, also a deleted one.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    check_id("latent", latent_id)
    row = await services.database.run(services.database.images.latent, latent_id)
    if row is None:
        raise NotFound("there is no such latent")
    await check_sees(services, caller, "latent", row.job_id)
    return row


async def delete_with_files(services: Services, image_id: str, *, if_made: bool = True) -> bool:
    """Delete an image with its previews and its latents; False if there is none.

    One without a picture counts only without ``if_made``; it may have a latent and previews.
    """
    delete = partial(services.database.images.delete, image_id, if_made=if_made)
    deleted = await services.database.run(delete)
    if deleted is None:
        return False
    image = deleted.image
    keys = [
        *image_keys(image.id),
        *(handoff_key(image.job_id, image.index, name) for name in services.models.stage_names),
    ]
    keys += [preview_key_from_name(image.job_id, name) for name in deleted.preview_names]
    keys += map(latent_key, deleted.latent_ids)
    await asyncio.gather(*map(services.blobs.delete, keys))
    return True


async def image_response(
    services: Services,
    request: Request,
    image: ImageRow,
    variant: Variant,
    caching: Mapping[str, str],
) -> Response:
    """Return the image's bytes in the wanted form, or 304 if the client has them.

    Raises:
        NotReady: too many conversions are waiting, or the store does not answer.
        Gone: the file was lost.
        ProvenanceFailed: a copy could not be signed.
    """
    # The bytes under an id never change, but a copy is another one once copies are signed.
    form = "" if variant.side_px is None else f".{variant.side_px}"
    if variant.side_px is None and variant != Variant(image.format) and services.conversions.signs:
        form = ".signed"
    etag = f'"{image.id}.{variant.image_format}.{variant.metadata}{form}"'
    headers = {"etag": etag, **caching}
    if _has_already(request, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return await _file(services, image, variant, headers)


async def picture_of(services: Services, job: Job, image_format: ImageFormat) -> Response:
    """Return the picture of a job of one image that succeeded, with the ids in headers.

    Raises:
        NotReady: too many conversions are waiting, or the store does not answer.
        Gone: the image was deleted, or its file was lost.
    """
    (image,) = job.images
    headers = {
        "location": f"/v1/jobs/{job.id}",
        "content-location": f"/v1/images/{image.id}?format={image_format}",
        "x-job-id": job.id,
        "x-image-id": image.id,
        "x-latent-id": image.latent_id,
    }
    return await _file(services, not_deleted(image), Variant(image_format), headers)


async def _file(
    services: Services, image: ImageRow, variant: Variant, headers: Mapping[str, str]
) -> Response:
    conversions = services.conversions if variant.side_px is None else services.thumbnails
    data = await conversions.stored(services.blobs, image, variant)
    name = f"{image.id}.{variant.image_format}"
    shown = {**headers, "content-disposition": f'inline; filename="{name}"'}
    return Response(data, media_type=f"image/{variant.image_format}", headers=shown)


def _has_already(request: Request, etag: str) -> bool:
    """Return True if ``If-None-Match`` names this tag (RFC 9110, 13.1.2)."""
    known = ",".join(request.headers.getlist("if-none-match"))
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return etag in tags or tags == {"*"}
