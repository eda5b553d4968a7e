"""Searches for the pictures that are nearest to a fingerprint, on SQLite and on PostgreSQL.

    python -m bench.provenance.nearest

The store is called as by a gateway. The baseline, in the same turns: the library's newest page.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import bindparam, text, update

from bench.service.chaos import scratch_settings
from bench.service.library import VIEWS, empty_postgresql, fill
from bench.stats import machine, percentiles, write_result
from serve.storage.database import Database
from serve.storage.library.query import LibraryQuery
from serve.storage.schema.tables import library

SIZES: Final = (10_000, 100_000)
REPEATS, PAGE = 30, 100


def main() -> None:
    """Fill both databases, measure and write the result."""
    result: dict[str, Any] = {"machine": machine(), "rows": {}}
    for count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            url = scratch_settings(Path(folder)).database_url
            result["rows"][f"sqlite, {count:,}"] = _measured(url, count)
        with empty_postgresql() as url:
            if url:
                result["rows"][f"postgresql, {count:,}"] = _measured(url, count)
    write_result("nearest", result, _table(result))


def _measured(url: str, count: int) -> dict[str, Any]:
    database = Database(url)
    database.create_tables()
    fill(database, count)
    database.library.enter_missing()
    known = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, count)
    change = update(library).where(library.c.image_id == bindparam("id"))
    rows = [{"id": f"I{number}", "value": int(value)} for number, value in enumerate(known)]
    with database.writing() as connection:
        connection.execute(change.values(fingerprint=bindparam("value")), rows)
        connection.execute(text("ANALYZE"))
    found: dict[str, Any] = {}
    for view, viewpoint in VIEWS.items():
        nearest_ms, page_ms = [], []
        for _ in range(REPEATS):
            begun_s = time.perf_counter()
            (one,) = database.fingerprints.nearest(viewpoint, (), int(known[1]))  # of the key, too
            nearest_ms.append(1000 * (time.perf_counter() - begun_s))
            begun_s = time.perf_counter()
            database.library.page(viewpoint, LibraryQuery(), None, PAGE)
            page_ms.append(1000 * (time.perf_counter() - begun_s))
            if one.image_id != "I1":
                raise RuntimeError(f"{one.image_id} was found")
        found[view] = {"nearest": percentiles(nearest_ms), "page": percentiles(page_ms)}
    database.close()
    return found


def _table(result: dict[str, Any]) -> str:
    titles = [f"{what}, {view}" for view in VIEWS for what in ("nearest", "newest page")]
    lines = ["| pictures | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for name, row in result["rows"].items():
        cells = [row[view][what] for view in VIEWS for what in ("nearest", "page")]
        shown = [f"{cell['p50']:.1f} ({cell['p95']:.1f}) ms" for cell in cells]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + (
        f"\n\nMedian (95th percentile) of {REPEATS} calls of the store. One key of ten has a tenth "
        "of the pictures. A search reads all fingerprints that are seen, one million at most."
    )


if __name__ == "__main__":
    main()
