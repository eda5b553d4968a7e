"""The Ray cluster that tests share, and the service that runs on it at the moment."""

from __future__ import annotations

from cascade_core.families.spec import Family
from serve.app import AppArgs
from serve.local.cluster import start
from serve.local.running import Running
from serve.settings import Settings
from tests.ray.deploying import deploy, deploy_with
from tests.ray.fake_stages import FakeStage
from tests.serve.served import models_of


class SharedCluster:
    """Starts with the first service that is asked for; the next one replaces that service.

    Tests deploy through it alone, so that it knows what runs.
    """

    def __init__(self) -> None:
        self._running: Running | None = None
        self._served: tuple[Settings, Family | None, type] | None = None

    def serve(
        self, settings: Settings, family: Family | None = None, stage_class: type = FakeStage
    ) -> Running:
        """Run a service, unless it runs already; returns when it answers."""
        wanted = (settings, family, stage_class)
        if self._running is None:
            self._running = start(settings, models_of(settings, family), stage_class=stage_class)
        elif wanted != self._served:
            self._served = None  # until the new one answers
            deploy(settings, family, stage_class)
        self._served = wanted
        return self._running

    def replace(self, settings: Settings) -> None:
        """Replace every replica by those of a new release; returns when the new ones answer."""
        self._served = None
        self.serve(settings)

    def resize(self, settings: Settings, args: AppArgs) -> None:
        """Deploy a service of other sizes; the next module deploys its service anew."""
        self._served = None
        deploy(settings, args=args)

    def deploy_file(self, settings: Settings, jobs_replicas: int) -> None:
        """Deploy as ``serve deploy`` does with a file; the next module deploys its service anew."""
        self._served = None
        deploy_with(settings, jobs_replicas)

    def stop(self) -> None:
        """Stop the cluster, if it runs."""
        if self._running is not None:
            self._running.stop()
        self._running = self._served = None
