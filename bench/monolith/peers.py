"""The servers that the service is compared with: all answer a JSON body with a PNG."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image
from ray import serve as ray_serve
from starlette.requests import Request
from starlette.responses import Response

from bench.monolith.models import DiffusersPipeline

MOST_TOGETHER: Final = 16
BATCH_WAIT_S: Final = 0.02
START_S = 120.0


class Pipeline:
    """A Ray Serve replica around the pipeline, one request after another."""

    def __init__(self, folder: Path) -> None:
        self._pipeline = DiffusersPipeline(folder)
        self._lock = asyncio.Lock()

    async def __call__(self, request: Request) -> Response:
        """Answer a JSON body with a PNG."""
        body = await request.json()
        async with self._lock:
            (picture,) = await asyncio.to_thread(self._pipeline.draw, [body])
        return Response(png(picture), media_type="image/png")


class BatchedPipeline(Pipeline):
    """The same with Ray Serve's batching: requests of equal steps that arrive together."""

    async def __call__(self, request: Request) -> Response:
        """Answer a JSON body with a PNG."""
        return Response(png(await self._together(await request.json())), media_type="image/png")

    @ray_serve.batch(max_batch_size=MOST_TOGETHER, batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
    async def _together(self, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        return await asyncio.to_thread(self._pipeline.draw, bodies)


def deploy_in_ray(folder: Path) -> None:
    """Deploy both at ``/plain`` and ``/batched`` of the Ray cluster that runs."""
    options: dict[str, Any] = {
        "max_ongoing_requests": 1000,
        "ray_actor_options": {"num_cpus": 0.1},
    }
    for path, pipeline in (("plain", Pipeline), ("batched", BatchedPipeline)):
        deployment = ray_serve.deployment(pipeline, name=path, **options)
        ray_serve.run(deployment.bind(folder), name=path, route_prefix=f"/{path}")


@contextmanager
def litserve(folder: Path, port: int) -> Iterator[str]:
    """Run LitServe around the pipeline, in processes of its own; yields its address.

    Raises:
        RuntimeError: it does not start.
    """
    command = [sys.executable, "-m", "bench.monolith.litserve_server", str(folder), str(port)]
    # A session of its own: its workers outlive it and go on asking their queue for work.
    process = subprocess.Popen(command, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, f"{url}/health")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("LitServe does not start")


def png(picture: Image.Image) -> bytes:
    """Return a picture as Pillow writes it."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
