"""Completes a client's request: decides every value that it leaves open."""

from __future__ import annotations

from cascade_core.errors import Gone, ModelMismatch, NotFound, Unsupported
from cascade_core.operations.fields import FIELDS
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import OPERATIONS
from cascade_core.request import GenerationRequest
from serve.gateway.schemas.jobs import JobBody
from serve.served_models import Models, OpenModel
from serve.storage.records import LatentRow
from serve.storage.upload_store import UploadRow


def model_of(name: str | None, row: LatentRow | UploadRow | None, models: Models) -> OpenModel:
    """Return the model that a client names, or that made the latent that its request starts from.

    A request that names neither means the first model.

    Raises:
        NotFound: there is no such model.
        ModelMismatch: the latent was made by another one.
    """
    if name is not None or not isinstance(row, LatentRow):
        return models.find(name)
    return models.with_weights_of(row.model) or models.default


def _operation(body: JobBody, model: OpenModel) -> Operation:
    """Return the body's kind of job.

    Raises:
        Unsupported: the model's stages cannot do it.
    """
    if body.kind not in model.family.operations:
        kinds = ", ".join(model.family.operations)
        raise Unsupported(f"{model.id} cannot do {body.kind}; kind can be {kinds}", "kind")
    return OPERATIONS[body.kind]


def given_fields(body: JobBody) -> dict[str, object]:
    """Return the fields of an operation that a body gives."""
    values = body.model_dump(include=set(FIELDS))
    return {name: value for name, value in values.items() if value is not None}


def resolve_request(
    body: JobBody,
    row: LatentRow | UploadRow | None,
    model: OpenModel,
) -> GenerationRequest:
    """Fill in what a body leaves open, from its source or the model; seeds are random then.

    Args:
        body: what the client sent.
        row: the latent that the body names, the latent of the picture that it names, or the upload
            that it names, if there is one.
        model: that makes the images.

    Raises:
        InvalidRequest: a value is missing or out of range; names the field and the range.
        Unsupported: values that do not go together, or a kind of job or a field that the family
            does not have.
        NotFound, Gone: there is no such latent, picture or upload, or it was deleted.
        ModelMismatch: another model made it.
    """
    operation = _operation(body, model)
    given = given_fields(body)
    operation.check(given)
    model.family.check_fields(given)
    source: dict[str, object] | None = None
    if isinstance(row, UploadRow):
        source = _size(row, model)
    elif operation.takes_image:
        latent = usable_latent(row, model, "image")
        source, given = latent.request.to_dict(), {**given, "latent_id": latent.id}
    elif operation.latent_field in given:
        source = usable_latent(row, model, operation.latent_field).request.to_dict()
    completed = operation.complete(given, model.checkpoint.defaults, source)
    request = GenerationRequest.from_dict({**completed, "model": model.id})
    model.family.check_stop(request)
    if request.stop_after is not None and model.checkpoint.previewer is None:
        message = f"{model.id} has no previewer, so nothing can be shown after a stage"
        raise Unsupported(message, "stop_after")
    return request


def _size(upload: UploadRow, model: OpenModel) -> dict[str, object]:
    """Return the size of an upload from which images can start."""
    if upload.deleted_at is not None:
        raise Gone("this upload was deleted", "image")
    if not model.takes_uploads:
        raise Unsupported(f"{model.id} cannot start from an upload: it has no encoder", "image")
    return {"width": upload.width, "height": upload.height}


def usable_latent(row: LatentRow | None, model: OpenModel, field: str = "latent_id") -> LatentRow:
    """Return a stored latent from which a model can go on.

    Args:
        row: the latent, if there is one.
        model: that is to go on.
        field: of the request, which names it.

    Raises:
        NotFound, Gone: there is no such latent, or it was deleted.
        ModelMismatch: another model made it.
    """
    if row is None:
        raise NotFound("there is no such latent", field)
    if row.deleted_at is not None:
        raise Gone("this latent was deleted", field)
    if row.model.fingerprint != model.checkpoint.fingerprint:
        made_by, asked = row.model, model.checkpoint
        message = (
            f"this latent was made by {made_by.id} {made_by.revision}, and {asked.id} "
            f"{asked.revision} cannot go on from it"
        )
        raise ModelMismatch(message, field)
    return row
