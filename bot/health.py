"""``/healthz``, ``/readyz`` and ``/metrics`` on the bot's own port."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from bot.service.client import CascadeClient
from bot.telemetry.metrics import Metrics
from cascade_core.errors import CascadeError

MAX_LAG_S = 5.0
MAX_LATENCY_S = 60.0
PROBE_EVERY_S = 10.0
PROBE_COUNTS_S = 60.0
_LAG_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Connection:
    """The state of the connection to Discord.

    Attributes:
        is_ready: all shards are connected and none is rate limited.
        latency_s: of the last heartbeat; not finite before the first one.
    """

    is_ready: bool
    latency_s: float


class Health:
    """Watches the event loop and the service, and answers probes.

    Args:
        client: the service's client.
        metrics: the metrics at ``/metrics``.
        connection: returns the state of the connection to Discord.
    """

    def __init__(
        self, client: CascadeClient, metrics: Metrics, connection: Callable[[], Connection]
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._connection = connection
        self._lag_s = 0.0
        self._service_ok_at_s = -math.inf
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Start to watch, and to answer probes on a port unless it is 0."""
        self._tasks = [
            asyncio.create_task(self._watch_loop()),
            asyncio.create_task(self._watch_service()),
        ]
        if port:
            app = web.Application()
            app.router.add_get("/healthz", self._healthz)
            app.router.add_get("/readyz", self._readyz)
            app.router.add_get("/metrics", self._show_metrics)
            self._runner = web.AppRunner(app, access_log=None)
            await self._runner.setup()
            await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Stop watching and answering probes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def problems(self) -> list[str]:
        """Return the reasons why the bot is not ready; empty when it is."""
        found = []
        if not self._connection().is_ready:
            found.append("not connected to Discord")
        if time.monotonic() - self._service_ok_at_s > PROBE_COUNTS_S:
            found.append("the picture service is not ready")
        return found

    def is_alive(self) -> bool:
        """Return True unless a restart of the bot would help."""
        latency_s = self._connection().latency_s
        # Before the first heartbeat there is no latency, which is no reason to restart.
        return self._lag_s < MAX_LAG_S and (
            not math.isfinite(latency_s) or latency_s < MAX_LATENCY_S
        )

    async def _healthz(self, _request: web.Request) -> web.Response:
        is_alive = self.is_alive()
        body = {"status": "ok" if is_alive else "stalled", "loop_lag_s": round(self._lag_s, 3)}
        return web.json_response(body, status=200 if is_alive else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        problems = self.problems()
        body = {"status": "not ready" if problems else "ready", "problems": problems}
        return web.json_response(body, status=503 if problems else 200)

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), content_type="text/plain")

    async def _watch_loop(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(_LAG_EVERY_S)
            self._lag_s = max(0.0, time.monotonic() - before_s - _LAG_EVERY_S)
            self._metrics.loop_lag_seconds.set(self._lag_s)

    async def _watch_service(self) -> None:
        while True:
            try:
                await self._client.check()
                self._service_ok_at_s = time.monotonic()
            except CascadeError:
                pass  # `problems` reports it once it lasts too long
            await asyncio.sleep(PROBE_EVERY_S)
