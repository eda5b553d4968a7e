"""``/v1/models``: the models of the service, in the form of OpenAI's API."""

from __future__ import annotations

from http import HTTPStatus

from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.operations.fields import MIN_SIDE_PX
from serve.gateway.auth.permissions import Reader
from serve.gateway.dependencies import ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.operations import operation_details
from serve.gateway.schemas.service import Defaults, Model, ModelList, Sizes, Terms
from serve.gateway.schemas.stages import stage_details
from serve.served_models import OpenModel

router = new_router("service")


@router.get("/v1/models", responses=secured())
async def list_models(services: ServicesDep, caller: Reader) -> ModelList:
    """Return the models that the key may use, the default first: licence, terms, operations."""
    return ModelList(data=[model_answer(model) for model in caller.models(services.models)])


@router.get("/v1/models/{model_id:path}", responses=secured(HTTPStatus.NOT_FOUND))
async def getmodel_answer(services: ServicesDep, caller: Reader, model_id: str) -> Model:
    """Return a model by its id."""
    return model_answer(caller.models(services.models).find(model_id))


def model_answer(model: OpenModel) -> Model:
    """Return a model's passport."""
    checkpoint = model.checkpoint
    defaults = checkpoint.defaults
    publisher, slash, _ = checkpoint.id.partition("/")
    return Model(
        id=checkpoint.id,
        owned_by=publisher if slash else "cascade-serve",
        revision=checkpoint.revision,
        fingerprint=checkpoint.fingerprint,
        licence=checkpoint.licence,
        terms=Terms(hosting=checkpoint.hosting, commercial=checkpoint.commercial),
        trained_on=checkpoint.trained_on or None,
        weaknesses=list(checkpoint.weaknesses),
        defaults=Defaults(
            width=defaults.width,
            height=defaults.height,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            decoder_steps=defaults.decoder_steps,
            decoder_guidance_scale=defaults.decoder_guidance_scale,
        ),
        sizes=Sizes(multiple_of=SIZE_MULTIPLE_PX, min_side=MIN_SIDE_PX, max_side=defaults.max_side),
        suggestions=list(defaults.suggestions),
        takes_uploads=model.takes_uploads,
        stages=stage_details(model.family, model.sizes),
        operations=operation_details(model.family, defaults),
    )
