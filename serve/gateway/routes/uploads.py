"""``/v1/uploads``: pictures of clients, to start images from."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, BinaryIO

from fastapi import Form, Query, UploadFile
from starlette.responses import Response
from ulid import ULID

from cascade_core.errors import Conflict, Gone, NotFound, Unsupported
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.images.upload_decoder import decode_upload
from cascade_core.images.upload_limits import MAX_UPLOAD_BYTES
from serve.gateway.auth.permissions import Caller, Creator, Editor, Viewer, check_user
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.images import LOST, OWN_CACHING, delete_with_files
from serve.gateway.schemas.uploads import UploadAnswer, UploadForm
from serve.storage.blobs.blob_keys import upload_key
from serve.storage.lineage import MAX_NAMED
from serve.storage.records import JobOwner, utc_now
from serve.storage.upload_store import UploadRow

_PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
_DEPENDANTS = {
    "X-Dependant-Count": {
        "description": "How many images were made from the upload, or are being made.",
        "schema": {"type": "integer"},
    },
    "X-Dependant-Ids": {
        "description": f"Their ids, with commas; the newest {MAX_NAMED} at most.",
        "schema": {"type": "string"},
    },
}

router = new_router("uploads")


@router.post(
    "/v1/uploads",
    status_code=HTTPStatus.CREATED,
    response_model=UploadAnswer,
    responses=secured(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def upload_picture(
    services: ServicesDep,
    caller: Creator,
    form: Annotated[UploadForm, Form(media_type="multipart/form-data")],
    response: Response,
) -> UploadAnswer:
    """Store a picture to start images from.

    Only its pixels are kept, upright and in sRGB. The same pixels again give the same upload, which
    is kept longer and needs no room. Of an animation the first picture counts. A picture that does
    not fit into what is left of the owner's quota is refused before a checker sees it.
    """
    if not any(model.takes_uploads for model in caller.models(services.models)):
        raise Unsupported("no model here can start from a picture: none has an encoder", "file")
    check_user(form.user)
    owner = caller.owner(form.user)
    owner = JobOwner(owner.key_id, owner.user)
    async with services.upload_turns.turn(owner):
        found = await _accepted(services, owner, form.file)
    response.headers["location"] = f"/v1/uploads/{found.id}"
    return UploadAnswer(**found.to_json())


@router.get("/v1/uploads/{upload_id}", response_model=UploadAnswer, responses=secured(*LOST))
async def get_upload(services: ServicesDep, caller: Viewer, upload_id: str) -> UploadAnswer:
    """Return what is known of an upload."""
    return UploadAnswer(**_present(await find_upload(services, caller, upload_id)).to_json())


@router.get(
    "/v1/uploads/{upload_id}/content",
    response_class=Response,
    responses={
        200: {"description": "The picture", "content": _PNG},
        **secured(HTTPStatus.SERVICE_UNAVAILABLE, *LOST),
    },
)
async def get_upload_content(services: ServicesDep, caller: Viewer, upload_id: str) -> Response:
    """Return an upload's pixels as a PNG file without metadata."""
    upload = _present(await find_upload(services, caller, upload_id))
    data = await services.blobs.get_known(upload_key(upload.id), "this upload")
    return Response(data, media_type="image/png", headers=OWN_CACHING)


@router.delete(
    "/v1/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={
        204: {"description": "Deleted", "headers": _DEPENDANTS},
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    },
)
async def delete_upload(
    services: ServicesDep,
    caller: Editor,
    upload_id: str,
    with_images: Annotated[
        bool,
        Query(
            description="Also delete the images that were made from it, and cancel the jobs that "
            "make some."
        ),
    ] = False,
) -> Response:
    """Delete an upload; deleting it again is no error.

    A job that has not read it yet fails with `gone`. The answer names the images that were made
    from it, or from those, or are being made. They stay unless `with_images` is true. Images that
    the caller may not see stay, and are not named.
    """
    await _check_known(services, caller, upload_id)
    store = services.database.uploads
    await services.database.run(store.delete, upload_id)
    await services.blobs.delete(upload_key(upload_id))
    image_ids, job_ids = await services.database.run(store.dependants, upload_id, caller.viewpoint)
    if with_images:
        for job_id in job_ids:
            await services.jobs.cancel(job_id)
        for image_id in image_ids:
            await delete_with_files(services, image_id, if_made=False)
    headers = {"x-dependant-count": str(len(image_ids))}
    if image_ids:
        headers["x-dependant-ids"] = ",".join(image_ids[:MAX_NAMED])
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


async def find_upload(services: Services, caller: Caller, upload_id: str) -> UploadRow:
    """Return an upload, also a deleted one.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    check_id("upload", upload_id)
    upload = await services.database.run(services.database.uploads.get, upload_id)
    if upload is None or not caller.sees(upload.owner):
        raise NotFound("there is no such upload")
    return upload


async def _check_known(services: Services, caller: Caller, upload_id: str) -> None:
    """Check that an upload is the caller's, or that images of the caller were made from it.

    Archives hold images, but not the uploads that they were made from: where an archive was
    imported, images alone tell of an upload, and its owner may still have them deleted.

    Raises:
        NotFound: neither is so.
    """
    check_id("upload", upload_id)
    store = services.database.uploads
    upload = await services.database.run(store.get, upload_id)
    if upload is None:
        found = await services.database.run(store.dependants, upload_id, caller.viewpoint)
        is_known = bool(found[0])
    else:
        is_known = caller.sees(upload.owner)
    if not is_known:
        raise NotFound("there is no such upload")


def _present(upload: UploadRow) -> UploadRow:
    if upload.deleted_at is not None:
        raise Gone("this upload was deleted")
    return upload


def _as_png(file: BinaryIO) -> tuple[bytes, int, int]:
    """Return an untrusted file as a PNG file of its pixels, and its width and height."""
    pixels_hwc = decode_upload(file.read(MAX_UPLOAD_BYTES + 1))
    height, width, _ = pixels_hwc.shape
    return StoredUpload.of(pixels_hwc).data, width, height


async def _accepted(services: Services, owner: JobOwner, file: UploadFile) -> UploadRow:
    """Decode a file, have its pixels checked and store them.

    Raises:
        Conflict: the owner's uploads take too much.
        NotReady: too many owners' files are being decoded.
        InvalidRequest: it is no sound picture, or too large.
        ContentRefused: a checker refused it.
    """
    services.upload_decoding.check_room()
    png, width, height = await services.upload_decoding.run(_as_png, file.file)
    content = await asyncio.to_thread(_digest, png)
    # Only now, as the same pixels again need no room.
    check_room, quota_mb = services.database.uploads.check_room, services.settings.upload_quota_mb
    await services.database.run(check_room, owner, content, len(png), quota_mb)
    await services.moderator.check_upload(png, owner)
    return await _stored(services, owner, png, content, (width, height))


async def _stored(
    services: Services, owner: JobOwner, png: bytes, content: str, size: tuple[int, int]
) -> UploadRow:
    """Store a picture, or find the owner's upload of the same pixels.

    Raises:
        Conflict: the owner's uploads take too much.
    """
    store, settings, now = services.database.uploads, services.settings, utc_now()
    expires_at = now + timedelta(hours=settings.upload_hours)
    earlier = await services.database.run(store.find_equal, owner, content, expires_at)
    if earlier is not None:
        return earlier
    upload = UploadRow(
        id=str(ULID()),
        owner=owner,
        width=size[0],
        height=size[1],
        size_bytes=len(png),
        content=content,
        created_at=now,
        expires_at=expires_at,
    )
    key = upload_key(upload.id)
    # The bytes come first: what is recorded can be read.
    await services.blobs.put(key, png)
    try:
        await services.database.run(store.add, upload, settings.upload_quota_mb)
    except Conflict:
        await services.blobs.delete(key)
        raise
    return upload


def _digest(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()
