"""Deploying the service anew on the cluster that runs."""

from __future__ import annotations

import os

from ray import serve as ray_serve
from ray.serve.schema import ServeDeploySchema

from bench.deploy import deploy_config
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.app import AppArgs, build_with
from serve.local.cluster import APP_NAME
from serve.settings import ENV_PREFIX, Settings


def deploy(settings: Settings, family: Family = STABLE_CASCADE) -> None:
    """Replace every replica of the service; returns when the new ones answer."""
    ray_serve.run(build_with(settings, AppArgs(), family), name=APP_NAME, route_prefix="/")


def deploy_with(settings: Settings, jobs_replicas: int) -> None:
    """Deploy as ``serve deploy`` does with a file; returns when it has taken effect.

    A change of the number of replicas leaves the others as they are.
    """
    chosen = settings.model_dump(include=settings.model_fields_set)
    variables = {ENV_PREFIX + name.upper(): str(value) for name, value in chosen.items()}
    config = {
        "applications": [
            {
                "name": APP_NAME,
                "route_prefix": "/",
                "import_path": "serve.app:build",
                "runtime_env": {"env_vars": variables | {"PYTHONPATH": os.getcwd()}},
                "deployments": [{"name": "Jobs", "num_replicas": jobs_replicas}],
            }
        ]
    }
    deploy_config(ServeDeploySchema(**config))
