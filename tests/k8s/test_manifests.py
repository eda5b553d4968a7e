"""Kubernetes and KubeRay would read the overlays, and drop nothing in silence."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.k8s.manifests import (
    COMPONENTS,
    OVERLAYS,
    ROOT,
    Manifest,
    added_by,
    built,
    built_with,
    environment,
    pods,
    ray_service,
)
from tests.k8s.rayservice_schema import DERIVED, derived, whole

KUBERNETES = "1.37"
CRD = ROOT.parent / "shared" / "data" / "kuberay" / "ray.io_rayservices.v1.7.0.yaml"
SCHEMAS = Path(__file__).parent / "schemas"
OWN_SCHEMAS = {
    "RayService": DERIVED,
    "Gateway": SCHEMAS / "gateway.json",
    "HTTPRoute": SCHEMAS / "httproute.json",
    "PodMonitor": SCHEMAS / "podmonitor.json",
    "PrometheusRule": SCHEMAS / "prometheusrule.json",
}

needs_crd = pytest.mark.skipif(not CRD.exists(), reason=f"KubeRay's CRD is not at {CRD}")


def check(manifest: Manifest) -> None:
    """Raise ValidationError for a field that is unknown, missing or of the wrong type."""
    own = OWN_SCHEMAS.get(manifest["kind"])
    if own is None:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    else:
        Draft202012Validator(json.loads(own.read_text())).validate(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_fits_its_schema(overlay: str) -> None:
    for manifest in built(overlay):
        check(manifest)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_adds_something_to_production_that_fits_its_schema(component: str) -> None:
    assert {m["kind"] for m in built_with(component)} >= {m["kind"] for m in built("prod")}
    assert added_by(component)
    for manifest in added_by(component):
        assert manifest["metadata"]["namespace"] == "cascade"
        check(manifest)


def test_all_components_can_be_had_at_once() -> None:
    names = {(m["kind"], m["metadata"]["name"]) for m in built_with(*COMPONENTS)}
    for component in COMPONENTS:
        assert {(m["kind"], m["metadata"]["name"]) for m in added_by(component)} <= names


@pytest.mark.parametrize("place", [(), ("spec",), ("spec", "rules", 0), ("spec", "listeners", 0)])
def test_a_mistyped_field_of_the_gateway_is_found(place: tuple[str | int, ...]) -> None:
    kind = "HTTPRoute" if "rules" in place else "Gateway"
    manifest = copy.deepcopy(next(m for m in added_by("gateway-api") if m["kind"] == kind))
    part: Any = manifest
    for step in place:
        part = part[step]
    part["tpyo"] = 1
    with pytest.raises(ValidationError):
        check(manifest)


@pytest.mark.parametrize(
    "kind", ["Deployment", "NetworkPolicy", "PodMonitor", "PrometheusRule", "RayService"]
)
def test_a_mistyped_field_is_found(kind: str) -> None:
    manifest = copy.deepcopy(next(m for m in built("prod") if m["kind"] == kind))
    manifest["spec"]["podSelectr"] = {}
    with pytest.raises((ValidationError, kubernetes_validate.ValidationError)):
        check(manifest)


@needs_crd
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_services_fit_the_whole_schema_of_kuberay(overlay: str) -> None:
    Draft202012Validator(whole(CRD)).validate(ray_service(overlay))


@needs_crd
def test_the_derived_schema_is_the_part_of_kuberays_that_is_used() -> None:
    assert json.loads(DERIVED.read_text()) == derived(CRD)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique_and_everything_lives_in_one_namespace(overlay: str) -> None:
    names = [(m["kind"], m["metadata"]["name"]) for m in built(overlay)]
    assert len(names) == len(set(names))
    assert {m["metadata"].get("namespace") for m in built(overlay)} <= {None, "cascade"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_the_manifests(overlay: str) -> None:
    assert all(manifest["kind"] != "Secret" for manifest in built(overlay))
    for pod in pods(overlay):
        for container in pod.containers:
            for name, value in environment(overlay, container).items():
                is_secret = re.search("TOKEN|PASSWORD|SECRET|_KEY|DATABASE_URL|DBOS_URL", name)
                assert value is None or not is_secret, name
