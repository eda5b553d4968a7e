"""A Ray cluster like the one that KubeRay makes of a RayService: one Ray node for each pod.

    python -m tests.ray.own_clusters.rayservice_cluster OVERLAY '{"VARIABLE": "value"}'

GPUs and CPUs are numbers that Ray counts. Prints one line of JSON, ``{"dashboard": URL, "pools":
{node id: pool}}``. A line ``POOL`` on standard input kills the pool's only node, all its processes
at once, and starts another; the answer is again the line of JSON. Ends when the input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import psutil
from ray._private.node import Node
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster

from tests.k8s.manifests import Pod, environment, groups, ray_pods
from tests.ray.client import free_port

OBJECT_STORE_BYTES = 100 * 1024 * 1024


def main(overlay: str, instead: dict[str, str]) -> None:
    """Start the nodes and do as told; ``instead`` replaces what only holds inside Kubernetes."""
    port = free_port()
    cluster = Cluster()
    options: dict[str, dict[str, Any]] = {}
    nodes: list[tuple[str, Node]] = []
    for group, pod in zip(groups(overlay), ray_pods(overlay), strict=True):
        pool = group["groupName"]
        options[pool] = _options(group, pod) | {"env_vars": _variables(overlay, pod) | instead}
        if pool == "head":
            options[pool] |= {"include_dashboard": True, "dashboard_port": port}
        for _ in range(group.get("minReplicas", 1)):
            nodes.append((pool, cluster.add_node(wait=False, **options[pool])))
    while True:
        cluster.wait_for_nodes()
        pools = {node.node_id: pool for pool, node in nodes}
        print(json.dumps({"dashboard": f"http://127.0.0.1:{port}", "pools": pools}), flush=True)
        pool = sys.stdin.readline().strip()
        if not pool:
            break
        (lost,) = [node for name, node in nodes if name == pool]
        _kill(lost)
        cluster.remove_node(lost, allow_graceful=False)
        nodes.remove((pool, lost))
        nodes.append((pool, cluster.add_node(wait=False, **options[pool])))
    cluster.shutdown()


def _options(group: dict[str, Any], pod: Pod) -> dict[str, Any]:
    start = group["rayStartParams"]
    limits = pod.spec["containers"][0]["resources"]["limits"]
    return {
        "num_cpus": int(start["num-cpus"]),
        "num_gpus": int(start.get("num-gpus", limits.get("nvidia.com/gpu", 0))),
        "labels": group.get("labels", {}),
        "object_store_memory": OBJECT_STORE_BYTES,
    }


def _variables(overlay: str, pod: Pod) -> dict[str, str]:
    variables = environment(overlay, pod.spec["containers"][0])
    return {name: value for name, value in variables.items() if value is not None}


def _kill(node: Node) -> None:
    """SIGKILL a node's raylet and every process that it started, as if its machine were gone."""
    raylet = psutil.Process(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid)
    for process in [raylet, *raylet.children(recursive=True)]:
        process.kill()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
