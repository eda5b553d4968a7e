"""The part of the service's HTTP API that is about assets: pictures with a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bot.service.client import CascadeClient, path_segment

_SHOWN_STATES = ("approved", "published")
_LOOKED_AT = 50
"""Pictures of one request, of which some were not approved."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A picture with its state.

    Attributes:
        version: how often it changed its state.
        submitted_by, decided_by: the end user; None: there was none yet, or a key did it itself.
        decider: the decider's name if it was a key without an end user, as in the studio.
        note: of the latest decision.
    """

    id: str
    state: str
    version: int
    job_id: str
    index: int
    prompt: str
    seed: int
    decoder_seed: int
    submitted_by: str | None
    decided_by: str | None
    decider: str
    note: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from the HTTP form."""
        names = ("id", "state", "version", "job_id", "index", "prompt", "seed", "decoder_seed")
        submitter, decider = body["submitted_by"] or {}, body["decided_by"] or {}
        return cls(
            **{name: body[name] for name in names},
            submitted_by=submitter.get("user"),
            decided_by=decider.get("user"),
            decider=decider.get("key", ""),
            note=body["note"],
        )


@dataclass(frozen=True, slots=True)
class AssetCalls:
    """The calls; all raise errors of :mod:`cascade_core.errors`.

    Attributes:
        client: sends them.
    """

    client: CascadeClient

    async def asset(self, image_id: str) -> Asset:
        """Return an asset."""
        return Asset.from_json(await self.client.send_json("GET", _path(image_id)))

    async def change(
        self, image_id: str, action: str, user: str, version: int, note: str = ""
    ) -> Asset:
        """Lead an asset of a version to its next state, for a user; again without harm.

        Raises:
            AssetConflict: it has another state or version now.
            FourEyes: another person has to do this.
        """
        body = {"action": action, "note": note, "user": user, "expected_version": version}
        path = f"{_path(image_id)}/transitions"
        return Asset.from_json(await self.client.send_json("POST", path, json=body))

    async def tag(self, image_id: str, tag: str, user: str) -> None:
        """Give a user's picture a tag."""
        body = {"ids": [image_id], "action": "tag", "value": tag}
        params = {"user": user}
        await self.client.send_json("POST", "/v1/images/bulk", params=params, json=body)

    async def approved(self, tag: str, cursor: str, limit: int) -> tuple[list[Asset], str]:
        """Return approved and published pictures with a tag, newest first, and the next cursor."""
        found: list[Asset] = []
        while True:
            params = {"q": f"tag:{tag}", "limit": str(_LOOKED_AT)}
            params |= {"cursor": cursor} if cursor else {}
            page = await self.client.send_json("GET", "/v1/library", params=params)
            for item in page["items"]:
                if item["state"] not in _SHOWN_STATES:
                    continue
                if len(found) == limit:
                    return found, cursor
                found.append(await self.asset(item["id"]))
                cursor = f"{item['job_id']}.{item['index']}"
            cursor = page["next_cursor"] or ""
            if not cursor:
                return found, ""


def _path(image_id: str) -> str:
    return f"/v1/assets/{path_segment(image_id)}"
