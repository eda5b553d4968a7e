"""What `kubectl kustomize` makes of the overlays, and the parts of it that tests ask for."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "gpu-one", "prod")
ONE_MACHINE = ("dev", "gpu-one")
COMPONENTS = tuple(sorted(path.name for path in (ROOT / "k8s" / "components").iterdir()))

Manifest = dict[str, Any]


class Pod(NamedTuple):
    """A pod template: where it is, its labels and its spec."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All containers, those that run first included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def kustomized(folder: Path) -> tuple[Manifest, ...]:
    """Return the manifests that kustomize makes of a folder."""
    command = [f"{sysconfig.get_path('scripts')}/kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@cache
def built(overlay: str) -> tuple[Manifest, ...]:
    """Return the manifests of an overlay; do not change them."""
    return kustomized(ROOT / "k8s" / "overlays" / overlay)


@cache
def built_with(*components: str) -> tuple[Manifest, ...]:
    """Return the manifests of production with components, as in an overlay of one's own."""
    with TemporaryDirectory() as folder:
        mine = {
            "resources": [os.path.relpath(ROOT / "k8s" / "overlays" / "prod", folder)],
            "components": [
                os.path.relpath(ROOT / "k8s" / "components" / name, folder) for name in components
            ],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(mine))
        return kustomized(Path(folder))


def added_by(component: str) -> list[Manifest]:
    """Return what a component adds to production."""
    return [manifest for manifest in built_with(component) if manifest not in built("prod")]


def of_kind(overlay: str, kind: str) -> list[Manifest]:
    """Return the manifests of one kind."""
    return [manifest for manifest in built(overlay) if manifest["kind"] == kind]


def ray_service(overlay: str) -> Manifest:
    """Return the only RayService."""
    (only,) = of_kind(overlay, "RayService")
    return only


def serve_config(overlay: str) -> dict[str, Any]:
    """Return what KubeRay sends to Ray Serve."""
    config: dict[str, Any] = yaml.safe_load(ray_service(overlay)["spec"]["serveConfigV2"])
    return config


def groups(overlay: str) -> list[Manifest]:
    """Return the head's group and the groups of workers."""
    cluster = ray_service(overlay)["spec"]["rayClusterConfig"]
    return [{"groupName": "head", **cluster["headGroupSpec"]}, *cluster["workerGroupSpecs"]]


def ray_pods(overlay: str) -> list[Pod]:
    """Return the pods of the Ray cluster with the labels that KubeRay gives them."""
    return [
        Pod(
            group["groupName"],
            group["template"]["metadata"]["labels"]
            | {"ray.io/node-type": "head" if group["groupName"] == "head" else "worker"},
            group["template"]["spec"],
        )
        for group in groups(overlay)
    ]


def other_pods(overlay: str) -> Iterator[Pod]:
    """Yield the pods of Deployments, Jobs and StatefulSets."""
    for manifest in built(overlay):
        if manifest["kind"] in ("Deployment", "Job", "StatefulSet"):
            template = manifest["spec"]["template"]
            yield Pod(
                manifest["metadata"]["name"], template["metadata"]["labels"], template["spec"]
            )


def pods(overlay: str) -> list[Pod]:
    """Return every pod."""
    return [*ray_pods(overlay), *other_pods(overlay)]


def config_map(overlay: str, name: str) -> dict[str, str]:
    """Return a ConfigMap's values."""
    (found,) = [m for m in of_kind(overlay, "ConfigMap") if m["metadata"]["name"] == name]
    data: dict[str, str] = found["data"]
    return data


def environment(overlay: str, container: dict[str, Any]) -> dict[str, str | None]:
    """Return a container's variables; None for those that come from a Secret."""
    variables: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        variables |= config_map(overlay, source["configMapRef"]["name"])
    return variables | {entry["name"]: entry.get("value") for entry in container.get("env", [])}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return True if a Kubernetes label selector matches; an empty one matches everything."""
    wanted = selector.get("matchLabels", {})
    listed = selector.get("matchExpressions", [])
    assert all(entry["operator"] == "In" for entry in listed), "only In is understood here"
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(entry["key"]) in entry["values"] for entry in listed
    )
