"""Fingerprints of the library's pictures, and the search for the nearest ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from serve.storage.connections import Connections
from serve.storage.library.search import seen
from serve.storage.lineage import Viewpoint
from serve.storage.schema.tables import library

MAX_DISTANCE: Final = 10
"""Of 64 bits; pictures that have nothing in common differ in about 32."""
MAX_NEAREST: Final = 5
MAX_COMPARED: Final = 1_000_000
"""Fingerprints that one search reads; each takes some 2 microseconds."""
_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class NearPicture:
    """A picture that resembles another one; ``distance`` is how many of 64 bits differ."""

    image_id: str
    distance: int


class FingerprintStore:
    """Compares fingerprints; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def nearest(
        self, viewpoint: Viewpoint, states: Collection[str], fingerprint: int
    ) -> list[NearPicture]:
        """Return the pictures that are nearest to a fingerprint, the nearest and newest first.

        At most `MAX_NEAREST`, and none that is further away than `MAX_DISTANCE`.

        Args:
            viewpoint: whose pictures are compared.
            states: assets of other owners that are compared, too, by their state.
            fingerprint: that they are compared with.
        """
        is_seen = and_(True, *seen(viewpoint))
        if states:
            is_seen = or_(is_seen, library.c.state.in_(sorted(states)))
        found: list[NearPicture] = []
        with self._connections.reading() as connection:
            for known, distance in _nearest(connection, is_seen, fingerprint):
                query = select(library.c.image_id).where(library.c.fingerprint == known, is_seen)
                newest_first = library.c.job_id.desc(), library.c.index.desc()
                query = query.order_by(*newest_first).limit(MAX_NEAREST - len(found))
                ids = connection.execute(query).scalars()
                found += [NearPicture(image_id, distance) for image_id in ids]
                if len(found) == MAX_NEAREST:
                    break
        return found


def _nearest(
    connection: Connection, is_seen: ColumnElement[bool], fingerprint: int
) -> list[tuple[int, int]]:
    """Return the nearest fingerprints and their distances, in batches that bound the memory."""
    query = select(library.c.fingerprint).where(library.c.fingerprint.is_not(None), is_seen)
    rows = connection.execute(query.limit(MAX_COMPARED)).yield_per(_BATCH).scalars()
    nearest: dict[int, int] = {}
    for batch in rows.partitions():
        known = np.unique(np.array(batch, np.int64))
        distances = _distances(known, fingerprint)
        close = np.flatnonzero(distances <= MAX_DISTANCE)
        nearest |= {int(known[index]): int(distances[index]) for index in close}
        nearest = dict(sorted(nearest.items(), key=lambda one: one[1])[:MAX_NEAREST])
    return list(nearest.items())


def _distances(known: NDArray[np.int64], fingerprint: int) -> NDArray[np.uint8]:
    counted: NDArray[np.uint8] = np.bitwise_count((known ^ np.int64(fingerprint)).view(np.uint64))
    return counted
