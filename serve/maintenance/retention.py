"""Deletes old images, latents, uploads, events and workflows, and objects that no row needs.

Deletions only mark rows. The last step removes all objects that no row needs. So objects that a
process leaves behind when it dies, here or in a job, are removed by a later round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, delete, func, or_, select, update

from cascade_core.errors import AssetProtected
from cascade_core.job_states import TERMINAL_STATES
from serve.maintenance.orphans import FOLDERS, Orphans, find_orphans
from serve.maintenance.thumbnails import make_missing
from serve.settings import Settings
from serve.storage.assets.rows import is_protected
from serve.storage.blobs.blob_store import BlobInfo, BlobStore
from serve.storage.database import Database
from serve.storage.lineage import HAS_OWN_LATENT, needs
from serve.storage.records import utc_now
from serve.storage.schema.tables import events, images, jobs, latents, library

EVERY_S = 3600.0
LOOK_S = 5.0
GRACE = timedelta(hours=1)
"""Younger objects are kept, because their row may not be written yet."""
LONGEST_UPGRADE = timedelta(days=7)
"""For so long, processes of two releases may share the database."""
_BATCH = 500
_MAX_UNKNOWN, _MAX_UNKNOWN_SHARE = 20, 0.05
_GB = 1_000_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """How many of each kind one round removed."""

    images: int
    latents: int
    uploads: int
    events: int
    workflows: int
    blobs: int


class RetentionWorker:
    """Runs rounds of retention; rounds of several processes may overlap.

    Args:
        database: its rows decide which objects are needed.
        blobs: the store, which must belong to this database alone.
        settings: how long each kind is kept.
        delete_workflows: deletes the workflow engine's records of workflows that ended before a
            time.
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        settings: Settings,
        delete_workflows: Callable[[datetime], Awaitable[int]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._now = now
        self._delete_workflows = delete_workflows

    async def run_forever(
        self, is_wanted: Callable[[], bool], every_s: float = EVERY_S, look_s: float = LOOK_S
    ) -> None:
        """Do a round every ``every_s`` seconds; a failed round is logged.

        Args:
            is_wanted: returns True while this process does the rounds.
            every_s: seconds from the end of a round to the next.
            look_s: seconds between two checks whether a round is due.
        """
        due_at_s = time.monotonic()
        while True:
            if is_wanted() and time.monotonic() >= due_at_s:
                try:
                    done = await self.run_once()
                    logger.info("retention: %s", done)
                    made = await make_missing(self._database, self._blobs)
                    logger.info("thumbnails or fingerprints of %d pictures were made", made)
                except Exception:
                    logger.exception("retention failed; the next round tries again")
                due_at_s = time.monotonic() + every_s
            await asyncio.sleep(look_s)

    async def run_once(self) -> RetentionReport:
        """Do one round.

        Raises:
            NotReady: the database or the blob store does not answer.
        """
        before = self._before(self._settings.keep_events_days)
        name_sources = self._database.lineage.name_sources
        await self._database.run(name_sources, self._now() - LONGEST_UPGRADE)
        await self._database.run(self._database.library.enter_missing)
        await self._database.run(self._database.library.remove_deleted)
        await self._database.run(self._database.boards.remove_unused)
        return RetentionReport(
            images=await self._database.run(self._delete_images),
            latents=await self._database.run(self._delete_latents),
            uploads=await self._database.run(self._database.uploads.delete_expired, self._now()),
            events=await self._database.run(self._delete_events),
            workflows=0 if before is None else await self._delete_workflows(before),
            blobs=await self._delete_blobs(),
        )

    def _delete_images(self) -> int:
        ready = select(images.c.id).where(
            images.c.ready_at.is_not(None), images.c.deleted_at.is_(None)
        )
        is_kept, count = is_protected(images.c.id), 0
        if (before := self._before(self._settings.keep_days)) is not None:
            count += self._delete_all_images(ready.where(images.c.ready_at < before, ~is_kept))
        if self._settings.keep_gb > 0:
            # Assets count first: nothing that is newer takes their place.
            order = (case((is_kept, 0), else_=1), images.c.ready_at.desc(), images.c.id.desc())
            size_bytes = images.c.size_bytes + func.coalesce(library.c.thumbnail_bytes, 0)
            total = func.sum(size_bytes).over(order_by=order)
            of_image = library.c.image_id == images.c.id
            measured = ready.outerjoin_from(images, library, of_image)
            running = measured.add_columns(total.label("total_bytes")).subquery()
            too_much = running.c.total_bytes > round(self._settings.keep_gb * _GB)
            kept = is_protected(running.c.id)
            count += self._delete_all_images(select(running.c.id).where(too_much, ~kept))
        return count

    def _delete_all_images(self, query: Select[Any]) -> int:
        with self._database.reading() as connection:
            ids = connection.execute(query).scalars().all()
        count = 0
        for image_id in ids:
            with suppress(AssetProtected):  # it was submitted meanwhile
                self._database.images.delete(image_id)
                count += 1
        return count

    def _delete_latents(self) -> int:
        """Delete latents that no picture and no job that may go on needs.

        They are those of deleted pictures, and the old ones that became no picture, such as those
        of jobs that failed.
        """
        needing = [
            select(images.c.id)
            .join(jobs, jobs.c.id == images.c.job_id)
            .where(condition)
            .correlate(latents)
            .exists()
            for condition in needs(latents.c.id)
        ]
        deleted = select(images.c.latent_id).where(HAS_OWN_LATENT, images.c.deleted_at.is_not(None))
        # Of a composition that was made anew, the image has another latent by now.
        of_image = images.c.job_id == latents.c.job_id, images.c.index == latents.c.index
        of_deleted = select(images.c.id).where(*of_image, images.c.deleted_at.is_not(None))
        is_due = or_(latents.c.id.in_(deleted), of_deleted.correlate(latents).exists())
        if (before := self._before(self._settings.keep_days)) is not None:
            is_due = or_(is_due, latents.c.created_at < before)
        unneeded = update(latents).where(latents.c.deleted_at.is_(None), is_due, ~or_(*needing))
        with self._database.writing() as connection:
            return connection.execute(unneeded.values(deleted_at=self._now())).rowcount

    def _delete_events(self) -> int:
        """Delete the events of old jobs except the last of each, which ends late streams."""
        before = self._before(self._settings.keep_events_days)
        if before is None:
            return 0
        old = (
            select(events.c.id)
            .join(jobs, jobs.c.id == events.c.job_id)
            .where(jobs.c.finished_at < before, events.c.type.not_in(TERMINAL_STATES))
            .limit(_BATCH)
        )
        count = 0
        while True:  # in small transactions, so that jobs can write in between
            with self._database.writing() as connection:
                ids = connection.execute(old).scalars().all()
                connection.execute(delete(events).where(events.c.id.in_(ids)))
            count += len(ids)
            if len(ids) < _BATCH:
                return count

    async def _delete_blobs(self) -> int:
        count = await asyncio.to_thread(self._blobs.delete_partial, FOLDERS, self._now() - GRACE)
        seen = 0
        unknown: list[str] = []
        for folder in FOLDERS:
            async for chunk in self._blobs.list_folder(folder):
                found = await self._database.run(self._orphans, folder, chunk)
                await self._delete_keys(found.unneeded)
                count += len(found.unneeded)
                seen += len(chunk)
                unknown += found.unknown
        if len(unknown) > max(_MAX_UNKNOWN, _MAX_UNKNOWN_SHARE * seen):
            # The store probably belongs to another database; crashes leave fewer objects.
            logger.error(
                "%d of %d stored objects are unknown to the database and were left alone; "
                "do CASCADE_DATABASE_URL and CASCADE_BLOB_URL belong together?",
                len(unknown),
                seen,
            )
            return count
        await self._delete_keys(unknown)
        return count + len(unknown)

    def _orphans(self, folder: str, chunk: list[BlobInfo]) -> Orphans:
        since = self._before(self._settings.keep_events_days)
        old = [info.key for info in chunk if info.modified_at < self._now() - GRACE]
        with self._database.reading() as connection:
            return find_orphans(connection, folder, old, since)

    async def _delete_keys(self, keys: list[str]) -> None:
        for start in range(0, len(keys), _BATCH):
            await asyncio.gather(*map(self._blobs.delete, keys[start : start + _BATCH]))

    def _before(self, days: float) -> datetime | None:
        return self._now() - timedelta(days=days) if days > 0 else None
