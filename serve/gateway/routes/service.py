"""``/v1/models``, ``/healthz``, ``/readyz``: what runs here, and whether it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import CascadeError, NotReady
from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.operations.fields import MIN_SIDE_PX
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller, Reader
from serve.gateway.dependencies import JobsDoor, Services
from serve.gateway.routes.route_parts import Needs, check_model, errors, secured
from serve.gateway.schemas.bodies import Defaults, Health, Model, ModelList, Ready, Sizes
from serve.responses.errors import error_response

READY, NOT_READY = "ready", "not ready"
READY_TIMEOUT_S = 5.0
READINESS_KEPT_S = 2.0

logger = logging.getLogger(__name__)
router = APIRouter(tags=["service"])


@router.get("/v1/models", responses=secured())
async def list_models(services: Needs, _caller: Reader) -> ModelList:
    """Return the loaded model: revision, licence, defaults, sizes, prompts to try."""
    return ModelList(data=[_model(services.checkpoint)])


@router.get("/v1/models/{model_id:path}", responses=secured(HTTPStatus.NOT_FOUND))
async def get_model(services: Needs, _caller: Reader, model_id: str) -> Model:
    """Return a model by its id."""
    check_model(services, model_id)
    return _model(services.checkpoint)


@router.get("/healthz", responses=errors())
async def healthz() -> Health:
    """Tell that this process answers."""
    return Health()


@router.get("/readyz", response_model=Ready, responses=errors(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(services: Needs, request: Request) -> Response:
    """Tell whether a job would run now; 503 names what is missing, and tells admins why."""
    # No key is needed, and a check writes to the blob store: its outcome is shared for a while.
    state, now_s = request.app.state, asyncio.get_running_loop().time()
    is_old = now_s - state.readiness_since_s >= READINESS_KEPT_S
    if state.readiness is None or (state.readiness.done() and is_old):
        state.readiness, state.readiness_since_s = asyncio.create_task(_checks(services)), now_s
    checks = await asyncio.shield(state.readiness)
    caller: Caller | None = request.scope.get(SCOPE_ENTRY)
    if caller is None or not caller.is_admin:
        # What is wrong may name hosts, paths and versions.
        checks = {name: READY if state == READY else NOT_READY for name, state in checks.items()}
    missing = [f"{name}: {state}" for name, state in checks.items() if state != READY]
    if missing:
        return error_response(NotReady("; ".join(missing)), checks=checks)
    return JSONResponse({"status": READY, "checks": checks})


def _model(checkpoint: Checkpoint) -> Model:
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
    )


async def _checks(services: Services) -> dict[str, str]:
    checks, database, blobs = await asyncio.gather(
        _deployments(services.jobs),
        _outcome("database", services.database.run(services.database.probe)),
        _outcome("blobs", services.blobs.probe()),
    )
    return checks | {"database": database, "blobs": blobs}


async def _deployments(jobs: JobsDoor) -> dict[str, str]:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return dict(await jobs.ready())
    except TimeoutError:
        return {"jobs": f"no answer in {READY_TIMEOUT_S:g} s"}
    except CascadeError as error:
        return {"jobs": error.for_operator}
    except Exception:
        logger.exception("asking the deployments failed")
        return {"jobs": "does not answer"}


async def _outcome(name: str, probe: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await probe
    except TimeoutError:
        return f"no answer in {READY_TIMEOUT_S:g} s"
    except CascadeError as error:
        return error.for_operator
    except Exception:
        logger.exception("probing %s failed", name)
        return "does not answer"
    return READY
