"""The whole service on this machine's Ray, scaled by the policy on logical GPUs.

Gateway, Jobs, fair queue, policy and Serve are the real ones; stages take fixed times instead of
running models unless told otherwise, so that a dozen replicas fit on two cores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from bench.autoscale.timed_stages import (
    TIMED_JOB,
    TimedStage,
    timed_work,
)
from bench.autoscale.traces import Arrival
from bench.deploy import deploy_config
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.stage_info import StageInfo
from cascade_core.job_states import OPEN_STATES
from serve.app import STAGE_PREFIX, AppArgs, build_with
from serve.autoscaling.demand import open_work_key
from serve.autoscaling.policy import Sizing
from serve.autoscaling.serve_policy import JOBS
from serve.local.running import APP_NAME
from serve.served_models import choose_models
from serve.settings import ENV_PREFIX, Settings, load_settings

GPUS = {"c": 1.0, "b": 0.5, "a": 0.25}
OTHER_GPUS = 0.25
"""Of a stage of a further model."""
CAP = {"c": 4, "b": 3, "a": 3}
FLOOR = {"c": 1, "b": 1, "a": 1}
SIZING: dict[str, Any] = {"gpu_budget": 6, "gpus": GPUS, "hold_s": 15}
POLICY = "serve.autoscaling.serve_policy:PipelinePolicy"
SAMPLE_S = 0.5
_LOGICAL_CPUS = 16
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of the service at one moment.

    Attributes:
        at_s: since the first sample.
        running, starting: replicas by the key of the stage.
        open_images: images accepted for a stage of Stable Cascade that it has not done yet.
    """

    at_s: float
    running: dict[str, int]
    starting: dict[str, int]
    open_images: dict[str, float]


@dataclass(slots=True)
class Live:
    """A running service and the samples of its state.

    Attributes:
        url: of the gateway.
        stages: of all its models.
        samples: in order of time.
    """

    url: str
    stages: Sequence[StageInfo]
    samples: list[Sample] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)

    def now_s(self) -> float:
        """Return seconds on the clock of the samples."""
        return time.monotonic() - self._began_s

    async def watch(self) -> None:
        """Take samples until cancelled."""
        jobs = ray_serve.get_deployment_handle(JOBS, APP_NAME)
        while True:
            status = await asyncio.to_thread(ray_serve.status)
            stats = await jobs.record_autoscaling_stats.remote()
            self.samples.append(_sample(self.stages, self.now_s(), status, stats))
            await asyncio.sleep(SAMPLE_S)

    async def seen(
        self,
        watching: asyncio.Task[None],
        condition: Callable[[Sample], bool],
        deadline_s: float,
    ) -> float:
        """Return the seconds until a new sample of a running watch meets the condition."""
        began_s, count = time.monotonic(), len(self.samples)
        async with asyncio.timeout(deadline_s):
            while not any(map(condition, self.samples[count:])):
                if watching.done():
                    watching.result()
                count = len(self.samples)
                await asyncio.sleep(0.2)
        return time.monotonic() - began_s

    async def play(self, arrivals: Sequence[Arrival]) -> list[float]:
        """Send the jobs of a trace at their times; returns their latencies from then."""
        async with httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT_S) as http:
            latent_id = await _made_latent(http)
            began_s = time.monotonic()

            async def send(arrival: Arrival) -> float:
                await asyncio.sleep(max(0.0, began_s + arrival.at_s - time.monotonic()))
                await _finished(http, _body(arrival.kind, latent_id) | {"n": arrival.images})
                return time.monotonic() - began_s - arrival.at_s

            return list(await asyncio.gather(*map(send, arrivals)))

    async def keep_open(self, kind: str, jobs: int, until: asyncio.Task[Any]) -> None:
        """Keep a number of jobs open until a task has ended; returns when they have, too."""
        async with httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT_S) as http:
            body = _body(kind, await _made_latent(http))

            async def one_after_another() -> None:
                while not until.done():
                    await _finished(http, body)

            await asyncio.gather(*(one_after_another() for _ in range(jobs)))


def build(args: dict[str, Any]) -> Application:
    """Build the service with timed stages, from the environment's settings and `AppArgs`."""
    sizes = AppArgs.model_validate(args)
    settings = load_settings()
    models = choose_models(settings.model_sources())
    return build_with(settings, sizes, models, TimedStage)


@contextmanager
def live_service(
    settings: Settings,
    *,
    floor: Mapping[str, int] = FLOOR,
    hold_s: float = SIZING["hold_s"],
    import_path: str = f"{__name__}:build",
    policy: str = POLICY,
) -> Iterator[Live]:
    """Run the service in a Ray cluster of its own, with as many logical GPUs as the budget.

    Args:
        settings: of the service.
        floor: fewest replicas by the key of the stage; none of a stage that it lacks.
        hold_s: how long a replica is kept after it was last wanted.
        import_path: what builds the service; by default with timed stages.
        policy: the path of the class that scales it.
    """
    sizing = SIZING | {"hold_s": hold_s}
    Sizing(**sizing)
    models = choose_models(settings.model_sources())
    stages = [stage for model in models for stage in model.family.stages]
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=_LOGICAL_CPUS,
        num_gpus=int(SIZING["gpu_budget"]),
        include_dashboard=False,
        object_store_memory=2**28,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        ray_serve.start(http_options={"host": settings.http_host, "port": settings.http_port})
        # A policy for a whole application comes by config only; this is what a deploy calls.
        application = _application(settings, stages, floor) | {
            "import_path": import_path,
            "autoscaling_policy": {
                "policy_function": policy,
                "policy_kwargs": sizing,
            },
        }
        config = ServeDeploySchema(applications=[application])
        deploy_config(config)
        yield Live(f"http://{settings.http_host}:{settings.http_port}", stages)
    finally:
        ray.shutdown()  # Serve's own shutdown would first wait for every replica


def _application(
    settings: Settings, stages: Sequence[StageInfo], floor: Mapping[str, int]
) -> dict[str, Any]:
    chosen = settings.model_dump(include=settings.model_fields_set, mode="json")
    variables = {ENV_PREFIX + name.upper(): str(value) for name, value in chosen.items()}
    fast = {"metrics_interval_s": 1, "look_back_period_s": 5}
    fast |= {"upscale_delay_s": 0, "downscale_delay_s": 0}
    args: dict[str, Any] = {
        STAGE_PREFIX + stage.key: {
            "num_cpus": 0.1,
            "num_gpus": GPUS.get(stage.key, OTHER_GPUS),
            "autoscaling": fast
            | {"min_replicas": floor.get(stage.key, 0), "max_replicas": CAP.get(stage.key, 1)},
        }
        for stage in stages
    }
    args["jobs"] = {"autoscaling": fast | {"min_replicas": 1, "max_replicas": 1}}
    return {
        "name": APP_NAME,
        "route_prefix": "/",
        "args": args,
        "runtime_env": {"env_vars": variables},
    }


def _sample(
    stages: Sequence[StageInfo], at_s: float, status: Any, stats: dict[str, float]
) -> Sample:
    deployments = status.applications[APP_NAME].deployments
    states = {stage.key: deployments[stage.deployment].replica_states for stage in stages}
    return Sample(
        at_s=at_s,
        running={stage: int(found.get("RUNNING", 0)) for stage, found in states.items()},
        starting={stage: int(found.get("STARTING", 0)) for stage, found in states.items()},
        open_images={
            stage: stats[open_work_key(stage)] / timed_work(stage) for stage in STABLE_CASCADE.names
        },
    )


async def _made_latent(http: httpx.AsyncClient) -> str:
    latent_id: str = (await _finished(http, TIMED_JOB))["images"][0]["latent_id"]
    return latent_id


def _body(kind: str, latent_id: str) -> dict[str, Any]:
    return TIMED_JOB if kind == "generate" else {"kind": kind, "latent_id": latent_id}


async def _finished(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post("/v1/jobs", json=body, headers={"Prefer": "wait=300"})
    answer.raise_for_status()
    job: dict[str, Any] = answer.json()
    while job["state"] in OPEN_STATES:  # it took longer than the service lets a request wait
        await asyncio.sleep(SAMPLE_S)
        answer = await http.get(f"/v1/jobs/{job['id']}")
        job = answer.raise_for_status().json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"a job ended as {job['state']}: {job['error']}")
    return job
