"""The model that clients are shown."""

from __future__ import annotations

import httpx

from cascade_core.request import GenerationRequest
from tests.serve.api_calls import create


async def test_the_model_is_shown_with_its_licence_and_limits(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json() == {
        "object": "list",
        "data": [
            {
                "id": "demo",
                "object": "model",
                "created": 0,
                "owned_by": "cascade-serve",
                "revision": "r1",
                "fingerprint": "f1",
                "licence": "Apache-2.0",
                "defaults": {
                    "width": 256,
                    "height": 384,
                    "steps": 12,
                    "guidance_scale": 3.0,
                    "decoder_steps": 6,
                    "decoder_guidance_scale": 0.0,
                },
                "sizes": {"multiple_of": 128, "min_side": 256, "max_side": 512},
                "suggestions": ["a red circle"],
                "stages": [
                    {"name": "c", "title": "C composing", "share": 0.6, "is_stored": True},
                    {"name": "b", "title": "B detailing", "share": 0.35, "is_stored": False},
                    {"name": "a", "title": "A decoding", "share": 0.05, "is_stored": False},
                ],
            }
        ],
    }


async def test_the_defaults_shown_make_a_valid_request(client: httpx.AsyncClient) -> None:
    defaults = (await client.get("/v1/models")).json()["data"][0]["defaults"]
    GenerationRequest(prompt="x", seed=0, decoder_seed=0, **defaults)
    assert (await create(client, **defaults))["request"]["steps"] == 12
