"""An asset as it is stored and shown, and the people and keys that act on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cascade_core.handoff import ModelRef
from serve.storage.records import JobOwner, iso_utc
from serve.storage.schema.asset_states import AssetState

LOCAL = "local"
"""Stands for the name of a key where the service has none."""


@dataclass(frozen=True, slots=True)
class Actor:
    """What did something: an API key, and the end user that it acted for.

    Attributes:
        key_id: None: the service had no keys.
        key: the key's name at that time.
        user: None: the key itself.
    """

    key_id: str | None
    key: str
    user: str | None = None

    @classmethod
    def from_stored(cls, stored: dict[str, Any] | None) -> Actor | None:
        """Return what :meth:`to_stored` made."""
        return None if stored is None else cls(stored["key_id"], stored["key"], stored["user"])

    def to_stored(self) -> dict[str, Any]:
        """Return its form in the database."""
        return {"key_id": self.key_id, "key": self.key, "user": self.user}

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        return {"key": self.key, "user": self.user}

    def is_owner(self, owner: JobOwner) -> bool:
        """Return True if it is the owner of a job."""
        return (self.key_id, self.user) == (owner.key_id, owner.user)

    def is_same(self, other: Actor) -> bool:
        """Return True if both are the same user of the same key, whatever the key was called."""
        return (self.key_id, self.user) == (other.key_id, other.user)

    @property
    def is_whole_machine(self) -> bool:
        """Return True for a request without a key and a user: one person's machine."""
        return self.key_id is None and self.user is None


@dataclass(frozen=True, slots=True)
class Asset:
    """A picture with its state.

    Attributes:
        id: of the picture.
        owner: of the job that made it.
        state, version: a draft that was never submitted has version 0; every action adds 1.
        sha256: of the picture's file, since it was submitted first; hexadecimal.
        model: the weights that made its latent; None if they are not recorded.
        submitted_by, submitted_at: the latest submission.
        decided_by, decided_at, note: the latest decision on it, until it is submitted again.
        changed_at: of the latest action; None: there was none.
    """

    id: str
    owner: JobOwner
    state: AssetState
    version: int
    sha256: str | None
    job_id: str
    index: int
    prompt: str
    kind: str
    width: int
    height: int
    format: str
    seed: int
    decoder_seed: int
    latent_id: str
    model: ModelRef | None
    submitted_by: Actor | None
    submitted_at: datetime | None
    decided_by: Actor | None
    decided_at: datetime | None
    note: str
    published_at: datetime | None
    changed_at: datetime | None
    comment_count: int
    is_deleted: bool = False

    def may_be_decided(self, actor: Actor) -> bool:
        """Return True if an actor neither made nor submitted it (four eyes).

        One person's machine without keys decides on its own.
        """
        is_submitter = self.submitted_by is not None and actor.is_same(self.submitted_by)
        return actor.is_whole_machine or not (is_submitter or actor.is_owner(self.owner))

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form, without what depends on the caller."""
        names = (
            *("id", "state", "version", "sha256", "job_id", "index", "prompt", "kind"),
            *("width", "height", "format", "seed", "decoder_seed", "latent_id", "note"),
            "comment_count",
        )
        people = {name: getattr(self, name) for name in ("submitted_by", "decided_by")}
        times = ("submitted_at", "decided_at", "published_at", "changed_at")
        model = self.model
        shown = {"id", "revision", "fingerprint"}
        return {
            **{name: getattr(self, name) for name in names},
            **{name: None if one is None else one.to_json() for name, one in people.items()},
            **{name: iso_utc(getattr(self, name)) for name in times},
            "model": None if model is None else {name: getattr(model, name) for name in shown},
            "image_url": f"/v1/images/{self.id}",
            "thumb_url": f"/v1/thumbs/{self.id}",
        }
