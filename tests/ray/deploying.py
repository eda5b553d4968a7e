"""Deploying the service anew on the cluster that runs."""

from __future__ import annotations

import os
from typing import Any

from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from bench.deploy import deploy_config
from cascade_core.families.spec import Family
from serve.app import AppArgs, build_with
from serve.gateway.deployment import Gateway
from serve.gateway.events.event_hub import EventHub
from serve.local.running import APP_NAME
from serve.settings import ENV_PREFIX, Settings, load_settings
from tests.ray.fake_stages import FakeStage
from tests.serve.served import models_of


class GatewayWithoutPolling(Gateway):
    """Reads events only when it is told that there are some."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._services.event_hub = EventHub(self._services.database, poll_s=3600.0)


def deploy(
    settings: Settings,
    family: Family | None = None,
    stage_class: type = FakeStage,
    args: AppArgs | None = None,
) -> None:
    """Replace every replica of the service; returns when the new ones answer."""
    application = build_with(settings, args or AppArgs(), models_of(settings, family), stage_class)
    ray_serve.run(application, name=APP_NAME, route_prefix="/")


def build(args: dict[str, Any]) -> Application:
    """Build the service with fake stages, from the environment's settings and `AppArgs`."""
    settings = load_settings()
    return build_with(settings, AppArgs.model_validate(args), models_of(settings), FakeStage)


def deploy_with(settings: Settings, jobs_replicas: int) -> None:
    """Deploy fake stages as ``serve deploy`` does with a file; returns when it has taken effect.

    A change of the number of replicas leaves the others as they are.
    """
    chosen = settings.model_dump(include=settings.model_fields_set)
    variables = {ENV_PREFIX + name.upper(): str(value) for name, value in chosen.items()}
    config = {
        "applications": [
            {
                "name": APP_NAME,
                "route_prefix": "/",
                "import_path": f"{__name__}:build",
                "runtime_env": {"env_vars": variables | {"PYTHONPATH": os.getcwd()}},
                "deployments": [{"name": "Jobs", "num_replicas": jobs_replicas}],
            }
        ]
    }
    deploy_config(ServeDeploySchema(**config))
