"""From what a client sent to a request with every value decided."""

from __future__ import annotations

import secrets
from dataclasses import replace

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelDefaults
from cascade_core.errors import Gone, InvalidRequest, ModelMismatch, NotFound, Unsupported
from cascade_core.request import MAX_SEED, GenerationRequest, check_new_text, check_side
from serve.gateway.schemas.bodies import JobBody
from serve.storage.records import LatentRow

FIXED_BY_LATENT = (
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "seed",
    "steps",
    "guidance_scale",
)
"""A stored latent has these values already."""


def resolve_generate(body: JobBody, defaults: ModelDefaults) -> GenerationRequest:
    """Fill in what a ``generate`` body leaves open; the seed is random then.

    Raises:
        InvalidRequest: a value is out of range; names the field and the range.
        Unsupported: values that do not go together.
    """
    if body.prompt is None:
        raise InvalidRequest("prompt is missing", "prompt")
    if not body.prompt.strip():
        raise InvalidRequest("prompt must say what the picture shows", "prompt")
    for name, text in (("prompt", body.prompt), ("negative_prompt", body.negative_prompt or "")):
        check_new_text(name, text)
    given = _given(body)
    seed = given.get("seed", random_seed())
    filled = {
        "width": defaults.width,
        "height": defaults.height,
        "steps": defaults.steps,
        "guidance_scale": defaults.guidance_scale,
        "decoder_steps": defaults.decoder_steps,
        "decoder_guidance_scale": defaults.decoder_guidance_scale,
        "seed": seed,
        "decoder_seed": seed,
    }
    for name in ("width", "height"):
        check_side(name, given.get(name, filled[name]), defaults.max_side)
    return GenerationRequest.from_dict(filled | given)


def resolve_vary(body: JobBody, row: LatentRow | None, checkpoint: Checkpoint) -> GenerationRequest:
    """Fill in a ``vary_details`` body from its latent; the decoder seed is random if not given.

    Decoder steps and guidance default to those of the image that the latent was made for.

    Raises:
        Unsupported: no latent is named, or a value is given that the latent fixes.
        NotFound, Gone: there is no such latent, or it was deleted.
        ModelMismatch: another model made it.
        InvalidRequest: a value is out of range.
    """
    given = _given(body)
    for name in FIXED_BY_LATENT:
        if name in given:
            raise Unsupported(f"{name} comes from the latent; leave it out to vary details", name)
    if body.latent_id is None:
        raise Unsupported("vary_details needs latent_id", "latent_id")
    if row is None:
        raise NotFound("there is no such latent", "latent_id")
    if row.deleted_at is not None:
        raise Gone("this latent was deleted", "latent_id")
    if row.model.fingerprint != checkpoint.fingerprint:
        made_by, loaded = f"{row.model.id} {row.model.revision}", checkpoint.id
        message = f"this latent was made by {made_by}; {loaded} {checkpoint.revision} is loaded"
        raise ModelMismatch(message, "latent_id")
    base = replace(row.request, kind="vary_details", latent_id=row.id, format="png")
    filled = base.to_dict() | {"decoder_seed": random_seed()}
    return GenerationRequest.from_dict(filled | given)


def random_seed() -> int:
    """Return a seed nobody chose."""
    return secrets.randbelow(MAX_SEED + 1)


def _given(body: JobBody) -> dict[str, object]:
    values = body.model_dump(exclude={"id", "user", "client_state"})
    return {name: value for name, value in values.items() if value is not None}
