"""Ray's head node, with the processes that the service uses and with forked workers.

`ray.init` has no options for any of this. `ray start` has some, but the cluster would not end with
the process that starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray._private.node as ray_node

from serve.local import forked_worker


@contextmanager
def lean_head_node(*, logs_to_driver: bool, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Make `ray.init` start its head node leaner in the block.

    Ray's node has three processes more: a dashboard, which would show nothing, the autoscaler's
    monitor, which has no machines to ask for, and the log monitor.

    Args:
        logs_to_driver: start the log monitor, which sends the workers' output to this process.
        meanwhile: called while the node's processes start, for which this process would only wait.
    """

    class HeadNode(ray_node.Node):  # type: ignore[misc]  # Ray has no stubs
        def __init__(self, ray_params: Any, **options: Any) -> None:
            ray_params.no_monitor = True
            ray_params.include_log_monitor = logs_to_driver
            ray_params.worker_path = str(Path(forked_worker.__file__))
            super().__init__(ray_params, **options)

        def start_api_server(self, **_options: Any) -> None:
            self._webui_url = ""

        def start_ray_processes(self) -> None:
            super().start_ray_processes()
            meanwhile()

    original = ray_node.Node
    ray_node.Node = HeadNode
    try:
        yield
    finally:
        ray_node.Node = original
