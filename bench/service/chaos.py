"""Kill processes of the service at random under load, and count what was lost.

    python -m bench.service.chaos --kills 100

Clients keep jobs under way through all of it, each with an Idempotency-Key, and ask again when an
answer fails to come, as a careful client would. Some of the jobs wait until their client continues
them, and some start from an upload. In the end every accepted job must have ended once
and well, with the pixels of an undisturbed run (within one level of 255, as images that share steps
are rounded otherwise), and without Stage C having begun again after it was done. The result is
committed as ``bench/results/chaos.*``.
"""

from __future__ import annotations

import argparse
import io
import logging
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

from bench import processes
from bench.stats import machine, summary, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.cluster import start
from serve.settings import Settings, load_settings
from serve.storage.connections import open_engine
from serve.storage.schema.tables import events, jobs

logger = logging.getLogger(__name__)

KEPT = next(stage.name for stage in STABLE_CASCADE.stages if stage.keeps_output)
VICTIMS = (*processes.KINDS, "StageE")
"""The encoder of uploads runs while some are used."""
BODIES: tuple[dict[str, Any], ...] = (
    {"prompt": "a large red heart in the center on a white background", "seed": 1},
    {"prompt": "a blue ring in the top right on a yellow background", "seed": 2, "n": 2},
    {"prompt": "a green square on the left on a pink background", "seed": 3, "width": 384},
    {"prompt": "a star", "seed": 4, "n": 3, "stop_after": KEPT},
)
CHOICE = {"indices": [0, 2]}
"""Of the images of a job that waits."""
TERMINAL = ("succeeded", "failed", "cancelled")
PATIENCE_S = 180.0


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        kills: how often each victim was killed.
        ends: how the jobs ended that clients followed: a state, or an error's code.
        drafts, from_uploads: how many of them waited and were continued, or used an upload.
        lost: keys of jobs that never ended, keys that got two jobs, keys that lost their upload.
        wrong_pixels: jobs with an image that differs by more than one level of 255 from an
            undisturbed run, or with too few or too many images.
        repeated_c: jobs whose Stage C began again after Stage B had.
        recovery_s: from each kill to the next good answer of /readyz.
    """

    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    drafts: int = 0
    from_uploads: int = 0
    lost: list[str] = field(default_factory=list)
    wrong_pixels: list[str] = field(default_factory=list)
    repeated_c: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Return True if nothing was lost, repeated or changed.

        A job may have failed for one reason only: two replicas died while they had it.
        """
        has_bad_end = not set(self.ends) <= {"succeeded", "stage_lost"}
        return not (self.lost or self.wrong_pixels or self.repeated_c or has_bad_end)


class Client:
    """Asks again until it gets an answer."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def finished(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Have one job accepted and follow it to its end; one that waits is continued."""
        job = self._insist(
            lambda: self._http.post("/v1/jobs", json=body, headers={"idempotency-key": key})
        ).json()
        address = f"/v1/jobs/{job['id']}"
        while job["state"] not in TERMINAL:
            if job["state"] == "waiting":
                headers, url = {"idempotency-key": key}, f"{address}/continue"
                self._insist(partial(self._http.post, url, json=CHOICE, headers=headers))
            time.sleep(0.2)
            job = self._insist(lambda: self._http.get(address)).json()
        return dict(job)

    def pixels(self, image_id: str) -> npt.NDArray[np.int16]:
        """Return an image's pixels, height x width x RGB."""
        return np.asarray(Image.open(io.BytesIO(self.file(image_id))), np.int16)

    def file(self, image_id: str) -> bytes:
        """Return an image's file."""
        return self._insist(lambda: self._http.get(f"/v1/images/{image_id}")).content

    def uploaded(self, picture: bytes) -> str:
        """Return the id of a picture's upload; the same picture again has the same id."""
        files = {"file": ("picture.png", picture)}
        answer = self._insist(lambda: self._http.post("/v1/uploads", files=files))
        return str(answer.json()["id"])

    def is_ready(self) -> bool:
        """Return True if /readyz says that the service is ready."""
        with suppress(httpx.TransportError):
            return self._http.get("/readyz").status_code == 200
        return False

    def _insist(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            with suppress(httpx.TransportError):
                answer = ask()
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer.raise_for_status()
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no good answer within {PATIENCE_S:.0f} s")
            time.sleep(0.5)


class Chaos:
    """Runs clients while it kills processes of the service."""

    def __init__(self, url: str, database_url: str, seed: int) -> None:
        self._url = url
        self._database_url = database_url
        self._rng = random.Random(seed)
        self._expected: dict[str, list[npt.NDArray[np.int16]]] = {}
        self._over = threading.Event()
        self.report = Report()

    def run(self, kills: int, clients: int) -> Report:
        """Let clients work while processes are killed; returns the outcome."""
        self._learn_what_is_right()
        with ThreadPoolExecutor(clients) as threads:
            working = [threads.submit(self._work, number) for number in range(clients)]
            try:
                for number in range(1, kills + 1):
                    victim = self._kill_one()
                    took_s = self.report.recovery_s[-1]
                    logger.info("%d of %d: %s, ready after %.1f s", number, kills, victim, took_s)
            finally:
                self._over.set()
            for client in working:
                client.result()
        self._look_at_the_database()
        return self.report

    def _learn_what_is_right(self) -> None:
        client = Client(self._url)
        self._bodies = (*BODIES, *self._made_from_others(client))
        with ThreadPoolExecutor() as threads:
            for body, pixels in zip(
                self._bodies, threads.map(partial(_drawn, client), self._bodies), strict=True
            ):
                self._expected[_name(body)] = pixels

    def _made_from_others(self, client: Client) -> tuple[dict[str, Any], ...]:
        """Return bodies of jobs that start from a picture: from its latent, and from an upload."""
        (image,) = client.finished(BODIES[0], uuid.uuid4().hex)["images"]
        self._picture = client.file(image["id"])
        upload_id = client.uploaded(self._picture)
        return (
            {"kind": "image_to_image", "image": upload_id, "prompt": "a star", "seed": 5, "n": 2},
            {"kind": "vary_details", "latent_id": image["latent_id"], "decoder_seed": 9},
        )

    def _work(self, number: int) -> None:
        """Have jobs of all bodies made in turn.

        The first client begins with the draft, the second one with the one from an upload.
        """
        client = Client(self._url)
        for body in islice(cycle(self._bodies), len(BODIES) - 1 + number, None):
            if self._over.is_set():
                return
            key = uuid.uuid4().hex
            try:
                if "image" in body and client.uploaded(self._picture) != body["image"]:
                    self.report.lost.append(key)
                job = client.finished(body, key)
            except TimeoutError:
                self.report.lost.append(key)
                continue
            self.report.ends[job["error"]["code"] if job["error"] else job["state"]] += 1
            self.report.drafts += "stop_after" in body
            self.report.from_uploads += "image" in body
            drawn = [client.pixels(image["id"]) for image in job["images"]]
            if job["state"] == "succeeded" and not _are_same(drawn, self._expected[_name(body)]):
                self.report.wrong_pixels.append(job["id"])

    def _kill_one(self) -> str:
        time.sleep(self._rng.uniform(0.2, 3.0))
        alive: list[psutil.Process] = []
        while not alive:
            victim = self._rng.choice(VICTIMS)
            alive = [process for _, process in processes.running([victim])]
        with suppress(psutil.NoSuchProcess):
            self._rng.choice(alive).kill()
        killed_s = time.monotonic()
        self.report.kills[victim] += 1
        client = Client(self._url)
        while not client.is_ready() and time.monotonic() - killed_s < PATIENCE_S:
            time.sleep(0.1)
        self.report.recovery_s.append(time.monotonic() - killed_s)
        return victim

    def _look_at_the_database(self) -> None:
        engine = open_engine(self._database_url)
        with engine.connect() as connection:
            keys = [row.idempotency_key for row in connection.execute(jobs.select())]
            told = connection.execute(events.select().order_by(events.c.id)).all()
        engine.dispose()
        self.report.lost += [key for key, count in Counter(keys).items() if key and count > 1]
        begun: set[tuple[str, int]] = set()
        for event in told:
            if event.type != "progress":
                continue
            image = (event.job_id, event.data["index"])
            if event.data["stage"] == "b":
                begun.add(image)
            elif event.data["stage"] == "c" and image in begun:
                self.report.repeated_c.append(event.job_id)


def main() -> None:
    """Start a service of its own, disturb it, write the result; fail if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.service.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING", format="%(message)s")
    logger.setLevel("INFO")
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        settings = scratch_settings(Path(folder), arguments.database_url)
        running = start(settings)
        try:
            chaos = Chaos(running.url, settings.database_url, arguments.seed)
            report = chaos.run(arguments.kills, arguments.clients)
        finally:
            running.stop()
    kind = settings.database_url.partition(":")[0]
    name = "chaos" if kind == "sqlite" else f"chaos_{kind}"
    write_result(name, _result(report, arguments.clients) | {"machine": where}, _table(report))
    if not report.is_good:
        raise SystemExit(f"not good: {report}")


def scratch_settings(folder: Path, database_url: str = "", port: int = 8765) -> Settings:
    """Return settings with data folders of their own."""
    values: dict[str, Any] = {"data_dir": folder, "http_port": port, "blob_url": ""}
    values |= {"database_url": database_url, "dbos_url": database_url, "reuse_latents": False}
    return Settings(**(load_settings().model_dump() | values))


def _drawn(client: Client, body: dict[str, Any]) -> list[npt.NDArray[np.int16]]:
    """Return the pixels of a job's images."""
    job = client.finished(body, uuid.uuid4().hex)
    return [client.pixels(image["id"]) for image in job["images"]]


def _are_same(drawn: list[npt.NDArray[np.int16]], expected: list[npt.NDArray[np.int16]]) -> bool:
    """Return True if no pixel differs by more than one level."""
    return len(drawn) == len(expected) and all(
        one.shape == other.shape and np.abs(one - other).max() <= 1
        for one, other in zip(drawn, expected, strict=True)
    )


def _name(body: dict[str, Any]) -> str:
    return repr(sorted(body.items()))


def _result(report: Report, clients: int) -> dict[str, Any]:
    return {
        "kills": dict(report.kills),
        "clients": clients,
        "jobs": dict(report.ends),
        "drafts": report.drafts,
        "from_uploads": report.from_uploads,
        "lost": len(report.lost),
        "wrong_pixels": len(report.wrong_pixels),
        "stage_c_repeated": len(report.repeated_c),
        "recovery_s": summary(report.recovery_s),
    }


def _table(report: Report) -> str:
    recovery = summary(report.recovery_s)
    killed = ", ".join(f"{name} {count}" for name, count in sorted(report.kills.items()))
    rows = [
        ("processes killed", f"{report.kills.total()} ({killed})"),
        ("jobs accepted", str(report.ends.total())),
        ("of them waited and were continued", str(report.drafts)),
        ("of them started from an upload", str(report.from_uploads)),
        ("of them succeeded", str(report.ends["succeeded"])),
        ("failed, as two replicas died while they had it", str(report.ends["stage_lost"])),
        ("lost or answered twice", str(len(report.lost))),
        (
            "jobs with an image that differs by more than 1 of 255 from an undisturbed run",
            str(len(report.wrong_pixels)),
        ),
        ("Stage C repeated after its end", str(len(report.repeated_c))),
        (
            "from a kill to ready again",
            f"median {recovery['median']:.1f} s, at most {recovery['max']:.1f} s",
        ),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    main()
