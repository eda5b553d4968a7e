"""The service as users start it, by `cascade up` in a process of its own, with fake stages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import environ
from pathlib import Path

import httpx
import psutil

from tests.limits import HANG_S
from tests.ray.client import ServiceClient

ROOT = Path(__file__).parents[2]


@contextmanager
def cascade_up(
    data_dir: Path, port: int, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], ServiceClient]]:
    """Run the real command until the block ends, with more environment variables if given."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ray.fake_cascade", "up"],
        cwd=ROOT,
        env=environ
        | {
            "CASCADE_DATA_DIR": str(data_dir),
            "CASCADE_HTTP_PORT": str(port),
            "CASCADE_DRAIN_S": "1",
        }
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    children: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        # Its own word, not /readyz: only then is it ready for signals, too.
        told: list[str] = []
        while not told or not told[-1].startswith("ready"):
            told.append(process.stdout.readline())
            assert told[-1], "".join(told)  # its output has ended
        children = psutil.Process(process.pid).children(recursive=True)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S) as http:
            yield process, ServiceClient(http)
    finally:
        process.kill()
        process.wait()
        for child in children:  # Ray's agents would stay for minutes
            with suppress(psutil.NoSuchProcess):
                child.kill()
