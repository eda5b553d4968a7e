"""Jobs over HTTP: one after another, and from many clients at once with the CPU time they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import psutil

from bench.processes import cpu_s, cpu_s_since
from bench.service.load import ask, closed_loop


class Client:
    """Sends jobs to one service.

    Args:
        session: of the service's address.
        body: of each job; its seed and prompt are its own.
        fetches: also fetch the picture.
    """

    def __init__(self, session: aiohttp.ClientSession, body: dict[str, Any], fetches: bool) -> None:
        self._session = session
        self._body = body
        self._fetches = fetches
        self._seed = 0

    async def make(self) -> None:
        """Create a job, wait for its end and fetch its picture."""
        self._seed += 1
        body = {"prompt": f"a red circle {self._seed}", "seed": self._seed} | self._body
        async with self._session.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}) as got:
            job = await got.json()
        if job.get("state") != "succeeded":
            raise RuntimeError(f"the job did not succeed: {str(job)[:300]}")
        if self._fetches:
            await ask(self._session, "GET", f"/v1/images/{job['images'][0]['id']}", 200)

    async def one_after_another(self, count: int) -> list[float]:
        """Return the seconds of each of so many jobs."""
        samples = []
        for _ in range(count):
            sent_s = time.perf_counter()
            await self.make()
            samples.append(time.perf_counter() - sent_s)
        return samples

    async def at_once(
        self, clients: int, seconds: float, processes: Sequence[psutil.Process]
    ) -> dict[str, Any]:
        """Return the jobs of many clients, their rate, and CPU seconds a job by kind of process.

        Args:
            clients: each sends its next job when it has the last one's answer.
            seconds: for so long.
            processes: of the service.
        """
        before_s = cpu_s(processes)
        done, took_s = await closed_loop(self.make, clients, seconds)
        used_s = cpu_s_since(before_s, processes)
        by_kind = {kind: seconds / len(done) for kind, seconds in used_s.items()}
        return {
            "jobs": len(done),
            "per_s": len(done) / took_s,
            "cpu_s_by_process": by_kind,
            "cpu_s": sum(by_kind.values()),
        }
