"""Exports of many pictures: throughput, memory of the gateway, and renditions a second.

    python -m bench.exports

The gateway runs alone in a process of its own, with SQLite and a folder; no stage runs. The
baseline, in the same turns: the library's zip of the same files, which says less of them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
import psutil

from bench.engine.png import photo
from bench.service.library import SeededPicture, record
from bench.stats import machine, summary, write_result
from cascade_core.images.image_files import encode_image
from serve.storage.blobs.blob_keys import image_key
from serve.storage.records import utc_now
from tests.studio.service import running

PICTURES: Final = 1000
SIDE_PX: Final = 1024
TURNS: Final = 5
RENDERED: Final = 12
"""Pictures of an export in one form."""
PRESETS: Final = ("instagram-square", "story", "link-card", "discord-banner", "web")
TARGET_MB_S: Final = 60.0
TARGET_GROWTH_MB: Final = 40.0
_SAMPLE_S: Final = 0.02
_MB: Final = 1_000_000


def main() -> None:
    """Fill a service, measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.exports", description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    count, where = parser.parse_args().pictures, machine()
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), count) as (url, process):
        result = {"machine": where, "pictures": count} | _measured(url, process)
    write_result("exports", result, table(result))


def _measured(url: str, process: BaseProcess) -> dict[str, Any]:
    with httpx.Client(base_url=url, timeout=600.0) as client:
        found: dict[str, list[float]] = {}
        for _ in range(TURNS):
            for name, request in {
                "library's zip": client.build_request("GET", "/v1/library/zip"),
                "export": client.build_request("POST", "/v1/exports", json={"q": ""}),
            }.items():
                size_bytes, took_s, growth_mb = _downloaded(client, request, process)
                found.setdefault(f"{name}, MB/s", []).append(size_bytes / _MB / took_s)
                found.setdefault(f"{name}, growth in MB", []).append(growth_mb)
        page = client.get("/v1/library", params={"limit": RENDERED}).raise_for_status().json()
        ids = [item["id"] for item in page["items"]]
        renditions = {name: _rendered_s(client, ids, name) for name in PRESETS}
    return {
        "zips": {name: summary(values) for name, values in found.items()},
        "rendition_s": renditions,
    }


def _downloaded(
    client: httpx.Client, request: httpx.Request, process: BaseProcess
) -> tuple[int, float, float]:
    """Return bytes, seconds, and how much the gateway grew at most meanwhile, in MB."""
    resident = psutil.Process(process.pid).memory_info
    before = most = resident().rss
    is_done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.wait(_SAMPLE_S):
            most = max(most, resident().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    begun_s = time.perf_counter()
    answer = client.send(request, stream=True)
    answer.raise_for_status()
    size_bytes = sum(map(len, answer.iter_raw()))
    took_s = time.perf_counter() - begun_s
    answer.close()
    is_done.set()
    watching.join()
    return size_bytes, took_s, (most - before) / _MB


def _rendered_s(client: httpx.Client, ids: list[str], preset: str) -> dict[str, float]:
    """Return the seconds of one rendition."""
    samples = []
    for _ in range(TURNS):
        begun_s = time.perf_counter()
        client.post("/v1/exports", json={"ids": ids, "presets": [preset]}).raise_for_status()
        samples.append((time.perf_counter() - begun_s) / len(ids))
    return summary(samples)


@contextmanager
def _gateway(folder: Path, count: int) -> Iterator[tuple[str, BaseProcess]]:
    """Run a gateway with so many pictures; yields its address and process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, count, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), process
    finally:
        ours.send(None)
        process.join()


def _serve(folder: Path, count: int, pipe: Connection) -> None:
    async def serve() -> None:
        async with running(folder) as service:
            settings, database = service.services.settings, service.services.database
            _seed(Path(unquote(urlsplit(settings.blob_url).path)), database, count)
            pipe.send(service.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def _seed(blobs: Path, database: Any, count: int) -> None:
    """Record pictures, whose files are links to one of a usual size."""
    at = utc_now()
    record(database, [SeededPicture(number, f"ring {number}", at) for number in range(count)])
    database.library.enter_missing()
    file = blobs / "picture.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_image(photo(SIDE_PX), "png", None))
    blobs.joinpath("images").mkdir(exist_ok=True)
    for number in range(count):
        os.link(file, blobs / image_key(f"I{number}", "png"))


def table(result: dict[str, Any]) -> str:
    """Return the result as a table."""
    zips = result["zips"]
    lines = [
        f"| {result['pictures']} pictures of {SIDE_PX} px | MB/s | gateway grows by, MB |",
        "|---" * 3 + "|",
    ]
    for name in ("library's zip", "export"):
        speed, growth = zips[f"{name}, MB/s"], zips[f"{name}, growth in MB"]
        lines.append(f"| {name} | {_spread(speed, '.0f')} | {_spread(growth, '.1f')} |")
    lines += ["", "| preset | a rendition, ms |", "|---|---|"]
    for name, seconds in result["rendition_s"].items():
        thousandths = {key: 1000 * value for key, value in seconds.items()}
        lines.append(f"| {name} | {_spread(thousandths, '.0f')} |")
    lines += [
        "",
        f"Targets: {TARGET_MB_S:.0f} MB/s and {TARGET_GROWTH_MB:.0f} MB. The client reads on the "
        "same machine. Renditions are not signed here; bench.provenance.signing says what that "
        "adds. Not measured: an object store, PostgreSQL, a network.",
    ]
    return "\n".join(lines)


def _spread(values: dict[str, float], form: str) -> str:
    return f"{values['median']:{form}} ({values['min']:{form}} to {values['max']:{form}})"


if __name__ == "__main__":
    main()
