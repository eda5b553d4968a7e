"""How long clients wait for a job when a process is killed, against an undisturbed job.

    python -m bench.service.recovery

Each kind of process is killed a few times, one at a time, while one job is under way; the moment
it is dead, another job is asked for. `bench.service.chaos` counts what many kills under load lose.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from bench import processes
from bench.service.chaos import BODIES, PATIENCE_S, TERMINAL, scratch_settings
from bench.stats import machine, summary, write_result
from serve.local.cluster import start

PAUSE_S = 0.05
UNDISTURBED = 10


class Client:
    """Asks again at once until it gets an answer."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_S)

    def accepted(self) -> str:
        """Have a job accepted; returns its id."""
        headers = {"idempotency-key": uuid.uuid4().hex}
        return str(self._insist("POST", "/v1/jobs", json=BODIES[0], headers=headers)["id"])

    def finished_s(self, job_id: str) -> float:
        """Return when a job that is followed to its end has ended, on the monotonic clock."""
        job = self._insist("GET", f"/v1/jobs/{job_id}")
        while job["state"] not in TERMINAL:
            time.sleep(PAUSE_S)
            job = self._insist("GET", f"/v1/jobs/{job_id}")
        if job["state"] != "succeeded":
            raise RuntimeError(f"a job has {job['state']}: {job['error']}")
        return time.monotonic()

    def until_running(self, job_id: str) -> None:
        """Return when a job is worked on."""
        while self._insist("GET", f"/v1/jobs/{job_id}")["state"] == "queued":
            time.sleep(PAUSE_S)

    def until_whole(self) -> None:
        """Return when the service is ready and has all its processes."""
        while set(processes.one_of_each()) != set(processes.KINDS):
            time.sleep(PAUSE_S)
        self._insist("GET", "/readyz")

    def _insist(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            with suppress(httpx.TransportError):
                answer = self._http.request(method, path, **more)
                if answer.status_code < 500:
                    return dict(answer.raise_for_status().json())
            time.sleep(PAUSE_S)
        raise TimeoutError(f"no good answer to {method} {path} within {PATIENCE_S:.0f} s")


def main() -> None:
    """Start a service of its own, kill its processes in turn, write the result."""
    kills, where = _arguments().kills, machine()
    with tempfile.TemporaryDirectory() as folder:
        running = start(scratch_settings(Path(folder)))
        try:
            client = Client(running.url)
            undisturbed = [_undisturbed_s(client) for _ in range(UNDISTURBED + 1)][1:]
            rows = {victim: _killed(running.url, victim, kills) for victim in processes.KINDS}
        finally:
            running.stop()
    result = {"machine": where, "undisturbed_s": summary(undisturbed), "victims": rows}
    write_result("recovery", result, _table(result))


def _undisturbed_s(client: Client) -> float:
    asked_s = time.monotonic()
    return client.finished_s(client.accepted()) - asked_s


def _killed(url: str, victim: str, kills: int) -> dict[str, dict[str, float]]:
    pairs = [_kill(url, victim) for _ in range(kills)]
    return {
        "under_way_s": summary([pair[0] for pair in pairs]),
        "next_s": summary([pair[1] for pair in pairs]),
    }


def _kill(url: str, victim: str) -> tuple[float, float]:
    """Return the seconds from a kill to the end of the job under way, and of one asked for then."""
    first, second = Client(url), Client(url)
    first.until_whole()
    under_way = first.accepted()
    first.until_running(under_way)
    process = processes.one_of_each()[victim]
    killed_s = time.monotonic()
    process.send_signal(signal.SIGKILL)
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(lambda: first.finished_s(under_way))
        other = threads.submit(lambda: second.finished_s(second.accepted()))
        return one.result() - killed_s, other.result() - killed_s


def _table(result: dict[str, Any]) -> str:
    whole = result["undisturbed_s"]
    lines = [
        "| killed (SIGKILL) | the job under way ends after | a job asked for then | kills |",
        "|---|---|---|---|",
        f"| nothing | | {_seconds(whole)} | {whole['n']} jobs |",
    ]
    for victim, row in result["victims"].items():
        cells = [victim, _seconds(row["under_way_s"]), _seconds(row["next_s"])]
        lines.append(f"| {' | '.join(cells)} | {row['next_s']['n']} |")
    return "\n".join(
        [*lines, "", "Median (least-most). Not measured: the loss of a machine, PostgreSQL."]
    )


def _seconds(values: dict[str, float]) -> str:
    return f"{values['median']:.1f} ({values['min']:.1f}-{values['max']:.1f}) s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.service.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=3, help="of each kind of process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
