"""Searches of a large library, on SQLite and on PostgreSQL.

    python -m bench.service.library

The stores are called as by a gateway. Prompts are of words whose frequencies fall as in a language.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, text
from ulid import ULID

from bench.engine.null_stages import NULL_JOB
from bench.service.chaos import scratch_settings
from bench.stats import machine, percentiles, write_result
from cascade_core.request import GenerationRequest
from serve.storage.database import Database
from serve.storage.library.changes import change_marks
from serve.storage.library.library_store import Place
from serve.storage.library.marks import Marks
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.schema.tables import images, jobs, library
from tests.private_postgres import find_binaries, running

PICTURES: Final = 100_000
WORDS, WORDS_A_PROMPT = 5000, 10
REPEATS, PAGE = 50, 100
OWNERS: Final = 10
SEARCHES: Final = {
    "newest page": ("", 30.0),
    "of one size and kind": ("kind:generate size:512x512", 30.0),
    "two common words": ("w1 w2", 50.0),
    "a common and a rare word": ("w1 w900", 50.0),
    "two rare words": ("w700 w800", 50.0),
    "a word that is nowhere": ("nowhere", 50.0),
    "a common word without another": ("w1 -w2", 50.0),
    "the beginning of words": ("w12*", 50.0),
    "a phrase": ('"w3 w4"', 50.0),
    "with a star": ("star:yes", 30.0),
    "rated 3 or better, newest": ("rating:>=3", 30.0),
    "a tag and a common word": ("tag:shoe w1", 50.0),
}
"""By name: the search and the target of its 95th percentile, in milliseconds."""
TIMELINE_MS: Final = 80.0
VIEWS: Final = {"all pictures": Viewpoint(None, None), "one key's": Viewpoint("key1", None)}


def main() -> None:
    """Fill both databases, measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.service.library", description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    count, where = parser.parse_args().pictures, machine()
    result: dict[str, Any] = {"machine": where, "pictures": count}
    with tempfile.TemporaryDirectory() as folder:
        result["sqlite"] = _measured(scratch_settings(Path(folder)).database_url, count)
    with empty_postgresql() as url:
        result["postgresql"] = _measured(url, count) if url else None
    write_result("library", result, table(result))


@contextmanager
def empty_postgresql() -> Iterator[str]:
    """Give an empty database; empty text where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        yield ""
        return
    with running(binaries) as server:
        yield server.new_database()


def _measured(url: str, count: int) -> dict[str, Any]:
    database = Database(url)
    database.create_tables()
    fill(database, count)
    begun_s = time.perf_counter()
    entered = database.library.enter_missing()
    found: dict[str, Any] = {"entered": entered, "enter_s": time.perf_counter() - begun_s}
    _mark(database, count)
    with database.writing() as connection:
        connection.execute(text("ANALYZE"))
    for view, viewpoint in VIEWS.items():
        found[view] = {
            name: percentiles(_timed(database, viewpoint, query))
            for name, (query, _) in SEARCHES.items()
        }
        found[view]["timeline"] = percentiles(_timed(database, viewpoint, None))
        found[view]["oldest page"] = percentiles(_timed(database, viewpoint, "", _oldest(database)))
    database.close()
    return found


def _timed(
    database: Database, viewpoint: Viewpoint, query: str | None, after: Place | None = None
) -> list[float]:
    """Return the times of a search, or of the timeline, in milliseconds."""
    times_ms = []
    for _ in range(REPEATS):
        begun_s = time.perf_counter()
        parsed = LibraryQuery.parse(query or "")
        if query is None:
            database.library.timeline(viewpoint, parsed)
        else:
            database.library.page(viewpoint, parsed, after, PAGE)
        times_ms.append(1000 * (time.perf_counter() - begun_s))
    return times_ms


def _oldest(database: Database) -> Place:
    """Return the place after which less than a page is left."""
    query = library.select().order_by(library.c.job_id, library.c.index).limit(PAGE)
    with database.reading() as connection:
        row = connection.execute(query).all()[-1]
    return row.job_id, row[1]


@dataclass(frozen=True, slots=True)
class SeededPicture:
    """A picture to record: its id is ``I`` and its number. It has no file."""

    number: int
    prompt: str
    at: datetime
    owner: str | None = None
    side_px: int = 512


def fill(database: Database, count: int) -> None:
    """Record jobs of one picture each, over two years."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(1, WORDS + 1)]
    weights = [1 / number for number in range(1, WORDS + 1)]
    first = datetime.now(UTC) - timedelta(days=730)

    def one(number: int) -> SeededPicture:
        prompt = " ".join(rng.choices(words, weights, k=WORDS_A_PROMPT))
        at = first + timedelta(days=730) * (number / count)
        return SeededPicture(number, prompt, at, f"key{number % OWNERS}", (512, 1024)[number % 2])

    for start in range(0, count, 1000):
        record(database, [one(number) for number in range(start, min(start + 1000, count))])


def record(database: Database, pictures: Sequence[SeededPicture]) -> None:
    """Record pictures with a job each, which has succeeded; the library has yet to take them."""
    with_ids = [(str(ULID.from_datetime(picture.at)), picture) for picture in pictures]
    with database.writing() as connection:
        connection.execute(insert(jobs), [_job(*one) for one in with_ids])
        connection.execute(insert(images), [_picture(*one) for one in with_ids])


def _mark(database: Database, count: int) -> None:
    """Note something of each 19th picture."""
    for start in range(0, count, 10_000):
        ids = [f"I{number}" for number in range(start, min(start + 10_000, count), 19)]
        with database.writing() as connection:
            change_marks(connection, ids, lambda _: Marks(star=True, rating=4, tags=("shoe",)))


def _job(job_id: str, picture: SeededPicture) -> dict[str, Any]:
    seeds = {"seed": picture.number, "decoder_seed": picture.number}
    request = GenerationRequest.from_dict(NULL_JOB | seeds | {"prompt": picture.prompt})
    return {
        "id": job_id,
        "kind": request.kind,
        "state": "succeeded",
        "request": request.to_dict(),
        "owner": picture.owner,
        "warnings": [],
        "created_at": picture.at,
        "finished_at": picture.at,
    }


def _picture(job_id: str, picture: SeededPicture) -> dict[str, Any]:
    return {
        "id": f"I{picture.number}",
        "job_id": job_id,
        "index": 0,
        "latent_id": f"L{picture.number}",
        "seed": picture.number,
        "decoder_seed": picture.number,
        "width": picture.side_px,
        "height": picture.side_px,
        "format": "png",
        "ready_at": picture.at,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    kinds = [kind for kind in ("sqlite", "postgresql") if result[kind]]
    titles = [f"{kind}, {view}" for kind in kinds for view in VIEWS]
    targets = {name: target for name, (_, target) in SEARCHES.items()}
    targets |= {"timeline": TIMELINE_MS, "oldest page": 30.0}
    lines = [
        f"| {result['pictures']:,} pictures | " + " | ".join(titles) + " | target of p95 |",
        "|---" * (len(titles) + 2) + "|",
    ]
    for name, target in targets.items():
        cells = [result[kind][view][name] for kind in kinds for view in VIEWS]
        shown = [f"{cell['p50']:.1f} ({cell['p95']:.1f}) ms" for cell in cells]
        lines.append(f"| {name} | " + " | ".join(shown) + f" | {target:.0f} ms |")
    entered = ", ".join(f"{kind} {result[kind]['enter_s']:.0f} s" for kind in kinds)
    return "\n".join(lines) + (
        f"\n\nMedian (95th percentile) of {REPEATS} calls of the store, {PAGE} pictures a page; "
        f"{OWNERS} keys own the pictures. To enter all pictures of an earlier release: {entered}. "
        "Not measured: a database in a network, files that are not in the page cache."
    )


if __name__ == "__main__":
    main()
