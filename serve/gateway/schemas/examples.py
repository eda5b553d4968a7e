"""The examples that the OpenAPI document shows, by schema; some name the stages of the family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_core.checkpoints.weight_sizes import WeightSize
from cascade_core.families.spec import Family
from cascade_core.families.stage_info import StageInfo
from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.operations.registry import (
    DECODE,
    GENERATE,
    IMAGE_TO_IMAGE,
    SERIES,
    VARY,
    VARY_DETAILS,
)
from serve.gateway.schemas.asset_examples import ASSETS
from serve.gateway.schemas.comparison_examples import comparison_examples
from serve.gateway.schemas.operations import operation_details
from serve.gateway.schemas.stages import stage_details
from serve.gateway.schemas.verify import VERIFY_EXAMPLE

_ID_EXAMPLE = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
_GENERATE: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "width": 256,
    "height": 256,
    "seed": 7,
}
_VARY_DETAILS: dict[str, Any] = {"kind": VARY_DETAILS.name, "latent_id": _ID_EXAMPLE, "n": 2}
_VARY: dict[str, Any] = {
    "kind": VARY.name,
    "latent_id": _ID_EXAMPLE,
    "strength": "strong",
    "prompt": "a red circle on a green background",
}
_DECODE: dict[str, Any] = {
    "kind": DECODE.name,
    "latent_id": _ID_EXAMPLE,
    "width": 384,
    "height": 384,
    "decoder_steps": 20,
}
_SERIES: dict[str, Any] = {
    "kind": SERIES.name,
    "template": "a {colour} circle on a white background",
    "variants": [{"colour": "red"}, {"colour": "blue"}],
    "hero": _ID_EXAMPLE,
}
_IMAGE_TO_IMAGE: dict[str, Any] = {
    "kind": IMAGE_TO_IMAGE.name,
    "image": _ID_EXAMPLE,
    "prompt": "a red circle on a green background",
    "strength": 0.6,
}
_PICTURE_EXAMPLE: dict[str, Any] = {
    "id": _ID_EXAMPLE,
    "job_id": _ID_EXAMPLE,
    "index": 0,
    "latent_id": _ID_EXAMPLE,
    "kind": GENERATE.name,
    "prompt": "a red circle on a blue background",
    "seed": 7,
    "width": 256,
    "height": 256,
    "created_at": "2026-01-31T12:00:03.000Z",
    "url": f"/v1/images/{_ID_EXAMPLE}",
    "thumb_url": f"/v1/thumbs/{_ID_EXAMPLE}",
    "star": True,
    "rating": 4,
    "tags": ["shoe", "summer-2026"],
    "boards": [_ID_EXAMPLE],
    "state": "draft",
}
_BOARD_EXAMPLE: dict[str, Any] = {
    "id": _ID_EXAMPLE,
    "title": "Summer campaign",
    "created_at": "2026-01-31T12:00:00.000Z",
    "count": 12,
}
_LIBRARY: dict[str, list[dict[str, Any]]] = {
    "LibraryPage": [{"items": [_PICTURE_EXAMPLE], "next_cursor": None}],
    "LibraryPicture": [_PICTURE_EXAMPLE],
    "ImagePatch": [{"star": True, "rating": 4, "tags": ["shoe", "summer-2026"]}],
    "VerifyAnswer": [VERIFY_EXAMPLE],
    "Board": [_BOARD_EXAMPLE],
    "BoardList": [{"boards": [_BOARD_EXAMPLE]}],
    "BoardBody": [{"title": "Summer campaign"}],
    "PicturesBody": [{"ids": [_ID_EXAMPLE]}],
    "BulkBody": [
        {"ids": [_ID_EXAMPLE], "action": "star"},
        {"q": "shoe rating:0", "action": "tag", "value": "to-sort"},
    ],
    "BulkAnswer": [{"changed": 12, "failed": [], "more": False}],
    "Timeline": [{"days": [{"day": "2026-01-31", "count": 12}]}],
    **ASSETS,
}
_KEY_EXAMPLE: dict[str, Any] = {
    "id": "0123456789ab",
    "name": "ann",
    "scopes": ["create", "read"],
    "requests_per_minute": 600,
    "models": None,
    "created_at": "2026-01-31T11:00:00.000Z",
    "last_used_at": None,
    "revoked_at": None,
}
_SESSION_EXAMPLE: dict[str, Any] = {
    "id": "0123456789abcdef",
    "created_at": "2026-01-31T12:00:00.000Z",
    "used_at": "2026-01-31T12:00:00.000Z",
    "expires_at": "2026-02-07T12:00:00.000Z",
    "is_current": True,
}
_JOB_EXAMPLE: dict[str, Any] = {
    "id": _ID_EXAMPLE,
    "kind": GENERATE.name,
    "key_id": "0123456789ab",
    "state": "running",
    "progress": {"step": 3, "steps": 20, "index": 0},
    "position": None,
    "eta_s": 2.5,
    "created_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.015Z",
    "finished_at": None,
    "deadline_at": "2026-01-31T12:15:25.000Z",
    "request": {
        "kind": GENERATE.name,
        "prompt": "a red circle on a blue background",
        "negative_prompt": "",
        "width": 256,
        "height": 256,
        "n": 1,
        "seed": 7,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_seed": 7,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
        "latent_id": None,
        "format": "png",
        "strength": None,
        "stop_after": None,
        "variants": None,
        "image": None,
        "hero_id": None,
        "model": "demo",
    },
    "images": [],
    "warnings": [],
    "error": None,
}
_MODEL_EXAMPLE: dict[str, Any] = {
    "id": "demo",
    "object": "model",
    "created": 0,
    "owned_by": "cascade-serve",
    "revision": "1",
    "fingerprint": "sha256:0f3a",
    "licence": "Apache-2.0",
    "terms": {"hosting": "allowed", "commercial": "allowed"},
    "trained_on": "20,000 scenes that our own renderer drew",
    "weaknesses": ["patterns on small things"],
    "defaults": {
        "width": 256,
        "height": 256,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    },
    "sizes": {"multiple_of": SIZE_MULTIPLE_PX, "min_side": MIN_SIDE_PX, "max_side": 512},
    "suggestions": ["a red circle on a blue background"],
    "takes_uploads": True,
}
_SIZE_EXAMPLE = WeightSize(parameters=2_400_000, size_bytes=4_800_000)
_IMAGES_BODY_EXAMPLE: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "n": 2,
    "size": "256x256",
    "seed": 7,
}
_IMAGES_EXAMPLE: dict[str, Any] = {
    "created": 1769860800,
    "data": [
        {
            "b64_json": "iVBORw0KGgo=",
            "image_id": _ID_EXAMPLE,
            "latent_id": _ID_EXAMPLE,
            "seed": 7,
            "decoder_seed": 7,
        }
    ],
    "background": "opaque",
    "output_format": "png",
    "size": "256x256",
    "usage": {
        "total_tokens": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    },
    "job_id": _ID_EXAMPLE,
    "warnings": [],
}
_ERROR_EXAMPLE = {
    "error": {
        "code": "invalid_value",
        "message": "n must be a whole number between 1 and 8",
        "type": "invalid_request_error",
        "param": "n",
        "field": "n",
        "request_id": _ID_EXAMPLE,
    }
}

_RELATIVE_EXAMPLE: dict[str, Any] = {
    "operation": VARY_DETAILS.name,
    "strength": None,
    "image_id": _ID_EXAMPLE,
    "latent_id": _ID_EXAMPLE,
    "job_id": _ID_EXAMPLE,
    "is_deleted": False,
}
_UPLOAD_EXAMPLE = {
    "id": _ID_EXAMPLE,
    "width": 1024,
    "height": 768,
    "expires_at": "2026-01-31T12:00:00.000Z",
}
_SHARE_EXAMPLE = {
    "url": f"https://pictures.example.org/v1/shared/{_ID_EXAMPLE}"
    "?expires=1769860800&signature=5f2c0a",
    "expires_at": "2026-01-31T12:00:00.000Z",
}
_JOB_EVENTS = """id: 41
event: queued
data: {"position":0,"eta_s":null}

id: 42
event: progress
data: {"stage":"STAGE","step":1,"steps":20,"index":0}

id: 43
event: image
data: {"index":0,"id":"01JX...","latent_id":"01JX...","seed":7,"decoder_seed":7,"url":"/v1/images/01JX..."}

id: 44
event: succeeded
data: {"job":{"id":"01JX...","state":"succeeded"}}

"""  # noqa: E501


_CALLER_EVENTS = """event: job
data: {"job_id":"01JX...","job":{"id":"01JX...","state":"queued"}}

id: 44
event: live
data: {}

id: 45
event: progress
data: {"job_id":"01JX...","stage":"STAGE","step":3,"steps":20,"index":0,"preview_url":"/v1/jobs/01JX.../previews/0-STAGE-3.webp"}

id: 47
event: queued
data: {"job_id":"01JY...","position":1,"eta_s":2.5}

"""  # noqa: E501


def job_events_example(family: Family) -> str:
    """Return the example of a job's event stream."""
    return _JOB_EVENTS.replace("STAGE", family.names[0])


def caller_events_example(family: Family) -> str:
    """Return the example of the event stream of a caller's jobs."""
    return _CALLER_EVENTS.replace("STAGE", family.names[0])


def _stage_status_example(stage: StageInfo) -> dict[str, Any]:
    return {
        "model": _MODEL_EXAMPLE["id"],
        "name": stage.name,
        "title": stage.title,
        "deployment": stage.deployment,
        "replicas": 1,
        "starting": 0,
        "jobs": 1,
        "images": 140,
        "seconds_per_image": 0.41,
    }


def examples(family: Family) -> Mapping[str, list[dict[str, Any]]]:
    """Return the examples of each schema."""
    first = family.stages[0]
    job = _JOB_EXAMPLE | {
        "stage": first.name,
        "cost": {stage.cost_key: 0.0 for stage in family.stages},
    }
    defaults = ModelDefaults(
        **_MODEL_EXAMPLE["defaults"], max_side=_MODEL_EXAMPLE["sizes"]["max_side"]
    )
    operations = operation_details(family, defaults)
    sizes = {stage.name: _SIZE_EXAMPLE for stage in family.stages}
    model = _MODEL_EXAMPLE | {
        "stages": [stage.model_dump() for stage in stage_details(family, sizes)],
        "operations": [operation.model_dump() for operation in operations],
    }
    ready = {first.deployment: "ready", "Jobs": "ready", "database": "ready", "blobs": "ready"}
    replicas = {"Gateway": 1, "Jobs": 1} | {stage.deployment: 1 for stage in family.stages}
    ended = {"succeeded": 140, "failed": 1, "cancelled": 4}
    status = {
        "replicas": replicas,
        "queued": 3,
        "running": 2,
        "last_hour": ended,
        "stages": [_stage_status_example(stage) for stage in family.stages],
        "errors": {"deadline_exceeded": 1},
        "checks": ready,
    }
    return {
        "JobBody": [_GENERATE, _VARY_DETAILS, _VARY, _DECODE, _SERIES, _IMAGE_TO_IMAGE],
        "JobAnswer": [job],
        "JobList": [{"jobs": [job], "next_cursor": None}],
        **comparison_examples(job),
        "Lineage": [{"parents": [_RELATIVE_EXAMPLE], "children": [], "next_cursor": None}],
        **_LIBRARY,
        "UploadAnswer": [_UPLOAD_EXAMPLE],
        "ShareBody": [{"expires_in_s": 3600}],
        "ShareAnswer": [_SHARE_EXAMPLE],
        "Model": [model],
        "ModelList": [{"object": "list", "data": [model]}],
        "ImagesBody": [_IMAGES_BODY_EXAMPLE],
        "ImagesAnswer": [_IMAGES_EXAMPLE],
        "ContinueBody": [{"indices": [0, 2]}],
        "RedoBody": [{"indices": [1, 3]}],
        "JobPatch": [{"client_state": {"seen": True}, "expected": {"inbox": "bot"}}],
        "PreferenceBody": [{"value": {"aspect": "wide"}}],
        "Preference": [{"name": "defaults", "value": {"aspect": "wide"}}],
        "SignInBody": [{"key": "csk_…"}],
        "SessionAnswer": [_SESSION_EXAMPLE],
        "SessionList": [{"sessions": [_SESSION_EXAMPLE]}],
        "Me": [{"key": _KEY_EXAMPLE, "session": _SESSION_EXAMPLE}],
        "KeyAnswer": [_KEY_EXAMPLE],
        "KeyList": [{"keys": [_KEY_EXAMPLE]}],
        "NewKeyBody": [{"name": "ann", "scopes": ["create", "read"]}],
        "NewKeyAnswer": [_KEY_EXAMPLE | {"token": "csk_…"}],
        "Status": [status],
        "Health": [{"status": "ok"}],
        "Ready": [{"status": "ready", "checks": ready}],
        "ErrorAnswer": [_ERROR_EXAMPLE],
    }
