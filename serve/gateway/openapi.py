"""The examples that the API's documentation shows, by schema."""

from __future__ import annotations

from typing import Any

_ID_EXAMPLE = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
_GENERATE: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "width": 256,
    "height": 256,
    "seed": 7,
}
_VARY: dict[str, Any] = {"kind": "vary_details", "latent_id": _ID_EXAMPLE, "n": 2}
_JOB_EXAMPLE: dict[str, Any] = {
    "id": _ID_EXAMPLE,
    "kind": "generate",
    "state": "running",
    "stage": "c",
    "progress": {"step": 3, "steps": 20, "index": 0},
    "position": None,
    "eta_s": 2.5,
    "created_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.015Z",
    "finished_at": None,
    "deadline_at": "2026-01-31T12:15:25.000Z",
    "request": {
        "kind": "generate",
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
    },
    "images": [],
    "warnings": [],
    "error": None,
    "cost": {"c_s": 0.0, "b_s": 0.0, "a_s": 0.0},
}
_MODEL_EXAMPLE: dict[str, Any] = {
    "id": "demo",
    "object": "model",
    "created": 0,
    "owned_by": "cascade-serve",
    "revision": "1",
    "fingerprint": "sha256:0f3a",
    "licence": "Apache-2.0",
    "defaults": {
        "width": 256,
        "height": 256,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    },
    "sizes": {"multiple_of": 128, "min_side": 256, "max_side": 512},
    "suggestions": ["a red circle on a blue background"],
}
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
_READY_EXAMPLE = {
    "status": "ready",
    "checks": {"StageC": "ready", "Jobs": "ready", "database": "ready", "blobs": "ready"},
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

_SHARE_EXAMPLE = {
    "url": f"https://pictures.example.org/v1/shared/{_ID_EXAMPLE}"
    "?expires=1769860800&signature=5f2c0a",
    "expires_at": "2026-01-31T12:00:00.000Z",
}

_STATUS_EXAMPLE = {
    "replicas": {"Gateway": 1, "Jobs": 1, "StageC": 2, "StageB": 1, "StageA": 1},
    "queued": 3,
    "running": 2,
    "last_hour": {"succeeded": 140, "failed": 1, "cancelled": 4},
}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "JobBody": [_GENERATE, _VARY],
    "JobAnswer": [_JOB_EXAMPLE],
    "JobList": [{"jobs": [_JOB_EXAMPLE], "next_cursor": None}],
    "ShareBody": [{"expires_in_s": 3600}],
    "ShareAnswer": [_SHARE_EXAMPLE],
    "Model": [_MODEL_EXAMPLE],
    "ModelList": [{"object": "list", "data": [_MODEL_EXAMPLE]}],
    "ImagesBody": [_IMAGES_BODY_EXAMPLE],
    "ImagesAnswer": [_IMAGES_EXAMPLE],
    "JobPatch": [{"client_state": {"seen": True}, "expected": {"inbox": "bot"}}],
    "PreferenceBody": [{"value": {"aspect": "wide"}}],
    "Preference": [{"name": "defaults", "value": {"aspect": "wide"}}],
    "Status": [_STATUS_EXAMPLE],
    "Health": [{"status": "ok"}],
    "Ready": [_READY_EXAMPLE],
    "ErrorAnswer": [_ERROR_EXAMPLE],
}
