"""``/v1/verify``: what a picture file says of its origin, and whether that holds."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, BinaryIO

from fastapi import Form

from cascade_core.errors import Gone, NotFound
from cascade_core.images.image_files import FileMarks
from cascade_core.images.upload_limits import MAX_UPLOAD_BYTES
from serve.gateway.assets.sight import find_seen_image, restricted, view_of
from serve.gateway.auth.permissions import Caller, Viewer
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import not_deleted
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.verify import (
    ActionShown,
    CredentialsShown,
    IngredientShown,
    NearPictureShown,
    OwnPicture,
    VerifyAnswer,
    VerifyForm,
    WatermarkShown,
    XmpShown,
)
from serve.provenance.credentials import Credentials
from serve.provenance.inspection import Inspection, inspect_file
from serve.provenance.watermarks import payload_of
from serve.storage.library.fingerprints import NearPicture

router = new_router("provenance")


@router.post(
    "/v1/verify",
    response_model=VerifyAnswer,
    responses=secured(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def verify_picture(
    services: ServicesDep,
    caller: Viewer,
    form: Annotated[VerifyForm, Form(media_type="multipart/form-data")],
) -> VerifyAnswer:
    """Say what a picture file tells of its origin, whether it is signed, and what is like it.

    Nothing of the file is kept, and no address in it is called.
    """
    services.upload_decoding.check_room()
    found = await services.upload_decoding.run(_inspected, services, form.file.file)
    source = found.marks.source
    near = await _nearest(services, caller, found.fingerprint)
    ours = await _own_picture(services, caller, found.marks)
    return VerifyAnswer(
        credentials=_credentials(found.credentials),
        xmp=source
        and XmpShown(
            digital_source_type=source.source_type, system=source.system, version=source.version
        ),
        ours=ours,
        watermark=_watermark(found.payload, [ours, *near]),
        nearest=[NearPictureShown(image_id=one.image_id, distance=one.distance) for one in near],
        is_damaged=found.fingerprint is None,
    )


def _inspected(services: Services, file: BinaryIO) -> Inspection:
    data = file.read(MAX_UPLOAD_BYTES + 1)
    return inspect_file(data, services.credential_reader, services.watermarker)


def _credentials(found: Credentials) -> CredentialsShown:
    return CredentialsShown(
        state=found.state,
        codes=list(found.codes),
        signer=found.signer,
        created_at=found.signed_at or None,
        actions=[
            ActionShown(
                action=one.action,
                source_type=one.source_type,
                software=one.software,
                model=one.model,
            )
            for one in found.actions
        ],
        ingredients=[
            IngredientShown(relationship=one.relationship, is_signed=one.is_signed)
            for one in found.ingredients
        ],
    )


async def _own_picture(services: Services, caller: Caller, marks: FileMarks) -> OwnPicture | None:
    """Return the picture that a file names, if the caller sees it."""
    image_id = (marks.info or {}).get("image_id")
    if not isinstance(image_id, str):
        return None
    try:
        image = not_deleted(await find_seen_image(services, caller, image_id))
    except (NotFound, Gone):
        return None
    return OwnPicture(image_id=image.id, latent_id=image.latent_id)


def _watermark(
    payload: bytes | None, pictures: Sequence[OwnPicture | NearPicture | None]
) -> WatermarkShown | None:
    """Return what a watermark says, and which of some pictures has it."""
    if payload is None:
        return None
    ids = [picture.image_id for picture in pictures if picture is not None]
    image_id = next((one for one in ids if payload_of(one) == payload), None)
    return WatermarkShown(payload=payload.hex(), image_id=image_id)


async def _nearest(
    services: Services, caller: Caller, fingerprint: int | None
) -> Sequence[NearPicture]:
    if fingerprint is None:
        return ()
    states = view_of(services, restricted(caller)).states
    find = services.database.fingerprints.nearest
    return await services.database.run(find, caller.viewpoint, states, fingerprint)
