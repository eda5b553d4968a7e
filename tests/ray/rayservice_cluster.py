"""A Ray cluster like the one that KubeRay makes of a RayService: one Ray node for each pod.

    python -m tests.ray.rayservice_cluster OVERLAY '{"VARIABLE": "value"}'

GPUs and CPUs are numbers that Ray counts. Prints one line of JSON, ``{"dashboard": URL, "pools":
{node id: pool}}``, and ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ray.cluster_utils import Cluster

from tests.k8s.manifests import Pod, environment, groups, ray_pods
from tests.ray.client import free_port

OBJECT_STORE_BYTES = 100 * 1024 * 1024


def main(overlay: str, instead: dict[str, str]) -> None:
    """Start the nodes and wait; ``instead`` replaces variables that only hold inside Kubernetes."""
    port = free_port()
    cluster = Cluster()
    pools = {}
    for group, pod in zip(groups(overlay), ray_pods(overlay), strict=True):
        start = group["rayStartParams"]
        limits = pod.spec["containers"][0]["resources"]["limits"]
        node: dict[str, Any] = {
            "num_cpus": int(start["num-cpus"]),
            "num_gpus": int(start.get("num-gpus", limits.get("nvidia.com/gpu", 0))),
            "labels": group.get("labels", {}),
            "env_vars": _variables(overlay, pod) | instead,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        if group["groupName"] == "head":
            node |= {"include_dashboard": True, "dashboard_port": port}
        for _ in range(group.get("minReplicas", 1)):
            started = cluster.add_node(**node)
            pools[started.node_id] = group["groupName"]
    cluster.wait_for_nodes()
    print(json.dumps({"dashboard": f"http://127.0.0.1:{port}", "pools": pools}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


def _variables(overlay: str, pod: Pod) -> dict[str, str]:
    variables = environment(overlay, pod.spec["containers"][0])
    return {name: value for name, value in variables.items() if value is not None}


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
