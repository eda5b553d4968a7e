"""Reads assets and changes their states, each change with its event in the audit log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select

from cascade_core.errors import AssetConflict, AssetDamaged, FourEyes, Gone, NotFound
from cascade_core.handoff import ModelRef
from serve.storage.assets.asset import Actor, Asset
from serve.storage.assets.audit_log import append
from serve.storage.assets.rows import forget_asset
from serve.storage.connections import Connections
from serve.storage.library.changes import change_marks
from serve.storage.library.entries import add_entries, unentered
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, utc_now
from serve.storage.schema.asset_states import (
    DRAFT,
    STATES,
    SUBMITTED,
    AssetAction,
    AssetState,
)
from serve.storage.schema.asset_tables import asset_comments, assets
from serve.storage.schema.tables import images, jobs, latents, library, upsert

PURGE: Final = "purge"
"""The action that erases an asset; it leads to no state."""

_ALL = Viewpoint(None, None)

Place = tuple[datetime, str]
"""The time of an asset's latest action and its id, which order lists."""


@dataclass(frozen=True, slots=True)
class AssetView:
    """The assets that a caller sees.

    Attributes:
        own: whose pictures are the caller's own; drafts are not listed, but found by id.
        states: those in which it sees other owners' assets, too.
    """

    own: Viewpoint
    states: frozenset[AssetState]

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition of the assets that are seen, joined with their jobs."""
        own = and_(True, *self.own.conditions)
        return or_(own, assets.c.state.in_(sorted(self.states)))

    def shows(self, asset: Asset) -> bool:
        """Return True if an asset is seen."""
        return self.own.shows(asset.owner) or asset.state in self.states


class AssetStore:
    """Reads and changes assets; every method is one transaction and blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, image_id: str) -> Asset | None:
        """Return a finished picture as an asset, also a deleted one; None if there is none."""
        with self._connections.reading() as connection:
            return _asset(connection, image_id)

    def state(self, image_id: str) -> AssetState:
        """Return the state of a picture; that of an unknown one is a draft."""
        query = select(assets.c.state).where(assets.c.image_id == image_id)
        with self._connections.reading() as connection:
            found: AssetState | None = connection.execute(query).scalar()
        return found or DRAFT

    def page(
        self, view: AssetView, state: AssetState | None, after: Place | None, limit: int
    ) -> list[Asset]:
        """Return the assets that are seen, without drafts.

        Args:
            view: of the caller.
            state: that they have; None: any. Submitted ones come with the oldest submission first,
                all others with the latest action first.
            after: the place of the last asset that is known; None: from the first on.
            limit: most assets.
        """
        place = assets.c.changed_at, assets.c.image_id
        is_wanted = assets.c.state != DRAFT if state is None else assets.c.state == state
        query = _pictures().where(is_wanted, view.condition, images.c.deleted_at.is_(None))
        is_queue = state == SUBMITTED
        query = query.order_by(*(one if is_queue else one.desc() for one in place)).limit(limit)
        if after is not None:
            query = query.where(_is_after(after, is_ascending=is_queue))
        with self._connections.reading() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]

    def counts(self, view: AssetView) -> dict[AssetState, int]:
        """Return how many assets that are seen each state has, without drafts."""
        query = select(assets.c.state, func.count()).join(images, images.c.id == assets.c.image_id)
        query = query.join(jobs, jobs.c.id == images.c.job_id).group_by(assets.c.state)
        query = query.where(view.condition, images.c.deleted_at.is_(None))
        with self._connections.reading() as connection:
            found = {state: count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES if state != DRAFT}

    def change(
        self,
        image_id: str,
        action: AssetAction,
        actor: Actor,
        *,
        sha256: str,
        note: str = "",
        expected_version: int | None = None,
        may_decide_own: bool = False,
    ) -> Asset:
        """Lead an asset to its next state.

        Args:
            image_id: of the picture.
            action: what is done.
            actor: what does it.
            sha256: of the picture's file as it is stored now.
            note: why.
            expected_version: of the asset that the actor saw; None: whichever.
            may_decide_own: the actor may be the submitter, too.

        Raises:
            NotFound, Gone: there is no such picture any more.
            AssetConflict: the asset has another state or version.
            AssetDamaged: the file is not the one that was submitted.
            FourEyes: another person has to do this.
        """
        with self._connections.writing() as connection:
            _lock_picture(connection, image_id)
            before = _asset(connection, image_id)
            if before is None:
                raise NotFound("there is no such asset")
            _check(before, action, actor, sha256, expected_version, may_decide_own=may_decide_own)
            after = _changed(before, action, actor, sha256, note)
            upsert(connection, assets, _row(after))
            _note_state(connection, image_id, after.state)
            append(
                connection,
                action.name,
                actor,
                image_id,
                {
                    "from": before.state,
                    "to": after.state,
                    "version": after.version,
                    "sha256": sha256,
                },
                note,
            )
        return after

    def release(self, image_id: str, actor: Actor) -> bool:
        """Take an asset's state, comments and notes, so that its picture can be deleted.

        Returns:
            False if it was a draft without any.
        """
        with self._connections.writing() as connection:
            _lock_picture(connection, image_id)
            before = _asset(connection, image_id)
            if before is None:
                return False
            had_something = forget_asset(connection, image_id)
            _note_state(connection, image_id, DRAFT)
            details = {"from": before.state, "to": None, "sha256": before.sha256}
            append(connection, PURGE, actor, image_id, details)
        return had_something


def _check(
    asset: Asset,
    action: AssetAction,
    actor: Actor,
    sha256: str,
    expected_version: int | None,
    *,
    may_decide_own: bool,
) -> None:
    if asset.is_deleted:
        raise Gone("this image was deleted")
    if asset.state not in action.sources or expected_version not in (None, asset.version):
        raise AssetConflict(
            f"this asset is {asset.state}, version {asset.version}; to {action.name} one, it must "
            f"be {' or '.join(sorted(action.sources))}"
            + ("" if expected_version is None else f", version {expected_version}")
        )
    if asset.sha256 not in (None, sha256):
        raise AssetDamaged("the stored file is not the one that was submitted")
    if action.needs_other and not (may_decide_own or asset.may_be_decided(actor)):
        raise FourEyes(f"another person has to {action.name} what you made or submitted")


def _changed(asset: Asset, action: AssetAction, actor: Actor, sha256: str, note: str) -> Asset:
    now = utc_now()
    changed = replace(
        asset, state=action.target, version=asset.version + 1, sha256=sha256, changed_at=now
    )
    if action.is_decision:
        return replace(changed, decided_by=actor, decided_at=now, note=note)
    if action.name == "publish":
        return replace(changed, published_at=now)
    if action.target in ("submitted", "draft"):
        changed = replace(changed, decided_by=None, decided_at=None, note="", published_at=None)
    if action.is_owners and action.target == SUBMITTED:
        return replace(changed, submitted_by=actor, submitted_at=now)
    return changed


def _lock_picture(connection: Connection, image_id: str) -> None:
    """Let no other transaction delete a picture or change its state until this one ends."""
    query = select(images.c.id).where(images.c.id == image_id).with_for_update()
    connection.execute(query).first()


def _note_state(connection: Connection, image_id: str, state: AssetState) -> None:
    """Let the library find a picture by its state."""
    add_entries(connection, unentered(connection, _ALL, [image_id]))
    shown = "" if state == DRAFT else state
    change_marks(connection, [image_id], lambda marks: replace(marks, state=shown))


def _is_after(place: Place, *, is_ascending: bool) -> ColumnElement[bool]:
    at, image_id = place
    changed_at, known_id = assets.c.changed_at, assets.c.image_id
    if is_ascending:
        return or_(changed_at > at, and_(changed_at == at, known_id > image_id))
    return or_(changed_at < at, and_(changed_at == at, known_id < image_id))


_IMAGE = ("id", "job_id", "index", "width", "height", "format", "seed", "decoder_seed", "latent_id")
_STATE = ("state", "version", "sha256", "submitted_at", "decided_at", "note", "published_at")
_PEOPLE = ("submitted_by", "decided_by")


def _pictures() -> Select[Any]:
    counted = select(func.count()).where(asset_comments.c.image_id == images.c.id)
    columns = (
        *(images.c[name] for name in (*_IMAGE, "deleted_at")),
        *(assets.c[name] for name in (*_STATE, *_PEOPLE, "changed_at")),
        *(jobs.c[name] for name in ("owner", "user", "kind", "request")),
        *(latents.c[name] for name in ("model_id", "model_revision", "model_fingerprint")),
        library.c.prompt,
        counted.scalar_subquery().label("comment_count"),
    )
    query = select(*columns).select_from(images).join(jobs, jobs.c.id == images.c.job_id)
    query = query.outerjoin(assets, assets.c.image_id == images.c.id)
    query = query.outerjoin(library, library.c.image_id == images.c.id)
    query = query.outerjoin(latents, latents.c.id == images.c.latent_id)
    return query.where(images.c.ready_at.is_not(None))


def _asset(connection: Connection, image_id: str) -> Asset | None:
    row = connection.execute(_pictures().where(images.c.id == image_id)).mappings().first()
    return None if row is None else _from_row(row)


def _from_row(row: RowMapping) -> Asset:
    model = None
    if row["model_id"] is not None:
        model = ModelRef(row["model_id"], row["model_revision"], row["model_fingerprint"])
    values: dict[str, Any] = {name: row[name] for name in (*_IMAGE, *_STATE, "changed_at")}
    if values["state"] is None:
        values |= {"state": DRAFT, "version": 0, "note": ""}
    values |= {name: Actor.from_stored(row[name]) for name in _PEOPLE}
    prompt = row["prompt"]
    return Asset(
        **values,
        owner=JobOwner(row["owner"], row["user"]),
        prompt=str(row["request"].get("prompt", "")) if prompt is None else prompt,
        kind=row["kind"],
        model=model,
        comment_count=row["comment_count"],
        is_deleted=row["deleted_at"] is not None,
    )


def _row(asset: Asset) -> dict[str, Any]:
    people = {name: getattr(asset, name) for name in _PEOPLE}
    return {
        "image_id": asset.id,
        **{name: getattr(asset, name) for name in (*_STATE, "changed_at")},
        **{name: None if one is None else one.to_stored() for name, one in people.items()},
    }
