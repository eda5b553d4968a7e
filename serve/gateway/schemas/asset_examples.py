"""The examples of assets that the OpenAPI document shows, by schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cascade_core.operations.registry import GENERATE

_ID = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
_ANN: dict[str, Any] = {"key": "ann", "user": None}
_BEA: dict[str, Any] = {"key": "discord-bot", "user": "discord:80351110224678912"}
_ASSET: dict[str, Any] = {
    "id": _ID,
    "state": "approved",
    "version": 2,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "job_id": _ID,
    "index": 0,
    "prompt": "a red circle on a blue background",
    "kind": GENERATE.name,
    "width": 256,
    "height": 256,
    "format": "png",
    "seed": 7,
    "decoder_seed": 7,
    "latent_id": _ID,
    "model": {"id": "demo", "revision": "1", "fingerprint": "5f2c"},
    "submitted_by": _ANN,
    "submitted_at": "2026-01-31T12:00:00.000Z",
    "decided_by": _BEA,
    "decided_at": "2026-01-31T12:05:00.000Z",
    "note": "",
    "published_at": None,
    "changed_at": "2026-01-31T12:05:00.000Z",
    "comment_count": 1,
    "image_url": f"/v1/images/{_ID}",
    "thumb_url": f"/v1/thumbs/{_ID}",
    "actions": ["publish", "archive"],
    "mine": False,
}
_COUNTS: dict[str, Any] = {
    "submitted": 3,
    "approved": 1,
    "rejected": 0,
    "published": 12,
    "archived": 2,
}
_EVENT: dict[str, Any] = {
    "id": f"{_ID}.12",
    "at": "2026-01-31T12:05:00.000Z",
    "actor": _BEA,
    "action": "approve",
    "asset": _ID,
    "from_state": "submitted",
    "to_state": "approved",
    "sha256": _ASSET["sha256"],
    "details": {
        "from": "submitted",
        "to": "approved",
        "version": 2,
        "sha256": _ASSET["sha256"],
    },
    "note": "",
    "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
}
_COMMENT: dict[str, Any] = {
    "id": _ID,
    "author": _BEA,
    "text": "The edge is soft here.",
    "x": 0.25,
    "y": 0.5,
    "resolved": False,
    "created_at": "2026-01-31T12:04:00.000Z",
    "mine": False,
}
_ERROR: dict[str, Any] = {
    "code": "asset_conflict",
    "message": "this asset is draft, version 0; to approve one, it must be submitted",
    "field": None,
}

ASSETS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "AssetAnswer": [_ASSET],
    "AssetList": [{"assets": [_ASSET], "next_cursor": None, "counts": _COUNTS}],
    "TransitionBody": [
        {"action": "approve", "expected_version": 1},
        {"action": "reject", "note": "the circle is cut off"},
    ],
    "BulkTransition": [{"ids": [_ID], "action": "publish"}],
    "BulkTransitionAnswer": [
        {
            "results": [
                {"id": _ID, "asset": _ASSET, "error": None},
                {"id": "01JXQ5W8T3M4N6P7R8S9T0V1W3", "asset": None, "error": _ERROR},
            ]
        }
    ],
    "History": [{"events": [_EVENT]}],
    "AuditPage": [{"events": [_EVENT], "next_cursor": None}],
    "CommentBody": [{"text": "The edge is soft here.", "x": 0.25, "y": 0.5}],
    "CommentPatch": [{"resolved": True}],
    "CommentAnswer": [_COMMENT],
    "CommentList": [{"comments": [_COMMENT]}],
}
"""The examples of each schema."""
