"""Completes a client's request: decides every value that it leaves open."""

from __future__ import annotations

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import Gone, ModelMismatch, NotFound, Unsupported
from cascade_core.families.spec import Family
from cascade_core.operations.fields import FIELDS
from cascade_core.operations.operation import Operation
from cascade_core.request import GenerationRequest
from serve.gateway.schemas.jobs import JobBody
from serve.storage.records import LatentRow
from serve.storage.upload_store import UploadRow


def operation_of(body: JobBody, family: Family) -> Operation:
    """Return the body's kind of job.

    Raises:
        Unsupported: the family's stages cannot do it.
    """
    operation = family.operations.get(body.kind)
    if operation is None:
        kinds = ", ".join(family.operations)
        raise Unsupported(f"this model cannot do {body.kind}; kind can be {kinds}", "kind")
    return operation


def given_fields(body: JobBody) -> dict[str, object]:
    """Return the fields of an operation that a body gives."""
    values = body.model_dump(include=set(FIELDS))
    return {name: value for name, value in values.items() if value is not None}


def resolve_request(
    body: JobBody,
    row: LatentRow | UploadRow | None,
    checkpoint: Checkpoint,
    family: Family,
) -> GenerationRequest:
    """Fill in what a body leaves open, from its source or the model; seeds are random then.

    Args:
        body: what the client sent.
        row: the latent that the body names, the latent of the picture that it names, or the upload
            that it names, if there is one.
        checkpoint: the loaded model.
        family: whose stages make the images.

    Raises:
        InvalidRequest: a value is missing or out of range; names the field and the range.
        Unsupported: values that do not go together, or a kind of job or a field that the family
            does not have.
        NotFound, Gone: there is no such latent, picture or upload, or it was deleted.
        ModelMismatch: another model made it.
    """
    operation = operation_of(body, family)
    given = given_fields(body)
    operation.check(given)
    family.check_fields(given)
    source: dict[str, object] | None = None
    if isinstance(row, UploadRow):
        source = _size(row, checkpoint, family)
    elif operation.takes_image:
        latent = usable_latent(row, checkpoint, "image")
        source, given = latent.request.to_dict(), {**given, "latent_id": latent.id}
    elif operation.latent_field in given:
        source = usable_latent(row, checkpoint, operation.latent_field).request.to_dict()
    request = GenerationRequest.from_dict(operation.complete(given, checkpoint.defaults, source))
    family.check_stop(request)
    if request.stop_after is not None and checkpoint.previewer is None:
        message = f"{checkpoint.id} has no previewer, so nothing can be shown after a stage"
        raise Unsupported(message, "stop_after")
    return request


def _size(upload: UploadRow, checkpoint: Checkpoint, family: Family) -> dict[str, object]:
    """Return the size of an upload from which images can start."""
    if upload.deleted_at is not None:
        raise Gone("this upload was deleted", "image")
    if family.encoder is None or checkpoint.picture_encoder is None:
        raise Unsupported("this model cannot start from an upload: it has no encoder", "image")
    return {"width": upload.width, "height": upload.height}


def usable_latent(
    row: LatentRow | None, checkpoint: Checkpoint, field: str = "latent_id"
) -> LatentRow:
    """Return a stored latent from which the loaded model can go on.

    Args:
        row: the latent, if there is one.
        checkpoint: the loaded model.
        field: of the request, which names it.

    Raises:
        NotFound, Gone: there is no such latent, or it was deleted.
        ModelMismatch: another model made it.
    """
    if row is None:
        raise NotFound("there is no such latent", field)
    if row.deleted_at is not None:
        raise Gone("this latent was deleted", field)
    if row.model.fingerprint != checkpoint.fingerprint:
        made_by, loaded = f"{row.model.id} {row.model.revision}", checkpoint.id
        message = f"this latent was made by {made_by}; {loaded} {checkpoint.revision} is loaded"
        raise ModelMismatch(message, field)
    return row
