"""What KubeRay's operator (1.7) refuses although its CRD allows it.

After `ray-operator/controllers/ray/utils/validation.go` of ray-project/kuberay, for the fields that
a RayService has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_NAME = 47
UPGRADE_TYPES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
STEPWISE = "NewClusterWithIncrementalUpgrade"
FAULT_TOLERANCE_VARIABLES = ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME")
START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
FIRST_RAY_WITH_TOKENS = (2, 52, 0)
ALPHA_FIELDS = ("networkPolicy", "tlsOptions", "historyServerOptions")
"""Their feature gates are off unless the operator was installed otherwise."""

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")

Manifest = dict[str, Any]


def refusals(service: Manifest) -> list[str]:
    """Return why the operator would refuse this RayService; empty if it would not."""
    spec = service["spec"]
    cluster = spec["rayClusterConfig"]
    return [
        *_name(service["metadata"]),
        *_upgrade(spec.get("upgradeStrategy", {})),
        *_groups(cluster),
        *_autoscaler(cluster),
        *_fault_tolerance(cluster),
        *_authentication(cluster),
        *(f"{name} needs a feature gate that is off" for name in ALPHA_FIELDS if name in cluster),
    ]


def serve_service_name(service: Manifest) -> str | None:
    """Return the name of the Service before Ray Serve's proxies, or None if it has no lasting one.

    After `BuildServeService` in `ray-operator/controllers/ray/common/service.go`: with a stepwise
    upgrade it is named after the RayCluster, whose name the operator makes up anew each time.
    """
    if service["spec"].get("upgradeStrategy", {}).get("type") == STEPWISE:
        return None
    return f"{service['metadata']['name']}-serve-svc"


def _name(metadata: Manifest) -> Iterator[str]:
    if len(metadata["name"]) > MAX_NAME or not _DNS_1035.fullmatch(metadata["name"]):
        yield f"the name must be a DNS label of at most {MAX_NAME} characters"


def _upgrade(strategy: Manifest) -> Iterator[str]:
    if strategy.get("type", "NewCluster") not in UPGRADE_TYPES:
        yield f"upgradeStrategy.type must be one of {', '.join(UPGRADE_TYPES)}"


def _groups(cluster: Manifest) -> Iterator[str]:
    head = {"groupName": "head", **cluster["headGroupSpec"]}
    if head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headService must have no name"
    for group in [head, *cluster.get("workerGroupSpecs", [])]:
        name, start = group["groupName"], group.get("rayStartParams", {})
        if not group["template"]["spec"]["containers"]:
            yield f"{name} has no container"
        if "labels" in start:
            yield f"{name} has labels in rayStartParams"
        if group.get("resources") and any(key in start for key in START_RESOURCES):
            yield f"{name} has resources in both places"
        for key, value in group.get("labels", {}).items():
            if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
                yield f"{name} has a label {key} with a bad value"


def _autoscaler(cluster: Manifest) -> Iterator[str]:
    variables = _head_variables(cluster)
    is_on = cluster.get("enableInTreeAutoscaling", False)
    version = cluster.get("autoscalerOptions", {}).get("version")
    if version and "RAY_enable_autoscaler_v2" in variables:
        yield "the autoscaler's version is in both places"
    if not is_on and variables.get("RAY_enable_autoscaler_v2") in ("1", "true"):
        yield "RAY_enable_autoscaler_v2 without the autoscaler"
    if not is_on or version == "v1":
        return
    for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
        if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield "autoscaler v2 needs restartPolicy Never"
        if group.get("suspend"):
            yield "a group cannot be suspended with the autoscaler on"


def _fault_tolerance(cluster: Manifest) -> Iterator[str]:
    variables = _head_variables(cluster)
    start = cluster["headGroupSpec"].get("rayStartParams", {})
    options = cluster.get("gcsFaultToleranceOptions")
    if options is None:
        if "RAY_REDIS_ADDRESS" in variables:
            yield "RAY_REDIS_ADDRESS without gcsFaultToleranceOptions"
        return
    if options.get("backend", "redis") != "redis":
        yield "backend needs a feature gate that is off"
    if "redis-password" in start or "redis-username" in start:
        yield "Redis' credentials are in rayStartParams"
    for name in FAULT_TOLERANCE_VARIABLES:
        if name in variables:
            yield f"{name} beside gcsFaultToleranceOptions"


def _authentication(cluster: Manifest) -> Iterator[str]:
    options = cluster.get("authOptions", {})
    if options.get("mode") == "token":
        version = cluster.get("rayVersion", "0")
        if tuple(int(part) for part in version.split(".")) < FIRST_RAY_WITH_TOKENS:
            yield "authOptions.mode is token, which this Ray does not know"
    if options.get("enableK8sTokenAuth"):
        yield "tokens of Kubernetes are not for a RayService"


def _head_variables(cluster: Manifest) -> dict[str, str | None]:
    container = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value") for entry in container.get("env", [])}
