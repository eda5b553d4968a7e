"""The overlays are nothing that KubeRay's operator would refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.k8s.manifests import OVERLAYS, ray_service
from tests.k8s.operator_rules import refusals


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_refuses_nothing(overlay: str) -> None:
    assert refusals(ray_service(overlay)) == []


CLUSTER = "spec/rayClusterConfig"
HEAD = f"{CLUSTER}/headGroupSpec"
WORKER = f"{CLUSTER}/workerGroupSpecs/1"


@pytest.mark.parametrize(
    ("where", "value", "complaint"),
    [
        ("metadata/name", "c" * 48, "at most 47"),
        ("metadata/name", "1cascade", "DNS label"),
        ("spec/upgradeStrategy/type", "Incremental", "type must be one of"),
        (f"{CLUSTER}/networkPolicy", {}, "feature gate"),
        (f"{CLUSTER}/gcsFaultToleranceOptions/backend", "rocksdb", "feature gate"),
        (f"{CLUSTER}/rayVersion", "2.51.2", "does not know"),
        (f"{CLUSTER}/authOptions/enableK8sTokenAuth", True, "not for a RayService"),
        (f"{HEAD}/headService", {"metadata": {"name": "head"}}, "no name"),
        (f"{HEAD}/rayStartParams/redis-password", "x", "rayStartParams"),
        (f"{HEAD}/template/spec/restartPolicy", "Always", "restartPolicy"),
        (f"{HEAD}/template/spec/containers/0/env/0/name", "REDIS_PASSWORD", "REDIS_PASSWORD"),
        (f"{HEAD}/template/spec/containers/0/env/0/name", "RAY_enable_autoscaler_v2", "both"),
        (f"{WORKER}/rayStartParams/labels", "a=b", "labels in rayStartParams"),
        (f"{WORKER}/resources", {"CPU": "1"}, "both places"),
        (f"{WORKER}/labels/cascade-pool", "no spaces", "bad value"),
        (f"{WORKER}/template/spec/containers", [], "no container"),
    ],
)
def test_each_rule_finds_its_mistake(where: str, value: Any, complaint: str) -> None:
    service = copy.deepcopy(ray_service("prod"))
    *path, last = where.split("/")
    place: Any = service
    for step in path:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    found = refusals(service)
    assert len(found) == 1
    assert complaint in found[0]
