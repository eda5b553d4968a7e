"""``/v1/models``: the loaded model, in the form of OpenAI's API."""

from __future__ import annotations

from http import HTTPStatus

from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.operations.fields import MIN_SIDE_PX
from serve.gateway.auth.permissions import Reader
from serve.gateway.dependencies import Services, ServicesDep
from serve.gateway.lookups import check_model
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.operations import operation_details
from serve.gateway.schemas.service import Defaults, Model, ModelList, Sizes
from serve.gateway.schemas.stages import stage_details

router = new_router("service")


@router.get("/v1/models", responses=secured())
async def list_models(services: ServicesDep, _caller: Reader) -> ModelList:
    """Return the loaded model: licence, defaults, sizes, prompts to try, stages, operations."""
    return ModelList(data=[_model(services)])


@router.get("/v1/models/{model_id:path}", responses=secured(HTTPStatus.NOT_FOUND))
async def get_model(services: ServicesDep, _caller: Reader, model_id: str) -> Model:
    """Return a model by its id."""
    check_model(services, model_id)
    return _model(services)


def _model(services: Services) -> Model:
    checkpoint = services.checkpoint
    defaults = checkpoint.defaults
    publisher, slash, _ = checkpoint.id.partition("/")
    return Model(
        id=checkpoint.id,
        owned_by=publisher if slash else "cascade-serve",
        revision=checkpoint.revision,
        fingerprint=checkpoint.fingerprint,
        licence=checkpoint.licence,
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
        takes_uploads=services.takes_uploads,
        stages=stage_details(services.family),
        operations=operation_details(services.family, defaults),
    )
