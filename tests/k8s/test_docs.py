"""The pages for operators do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import yaml

from tests.k8s.manifests import (
    COMPONENTS,
    OVERLAYS,
    ROOT,
    Pod,
    built,
    environment,
    kustomized,
    ray_pods,
    ray_service,
)
from tests.k8s.operator_rules import serve_service_name

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
OBSERVABILITY = (ROOT / "docs" / "observability.md").read_text()


def test_the_overlay_of_ones_own_builds_and_reaches_every_image_and_setting(tmp_path: Path) -> None:
    lines = PAGE.split("`mine/kustomization.yaml`:\n")[1].split("\n    kubectl apply")[0]
    k8s = os.path.relpath(ROOT / "k8s", tmp_path)
    text = lines.replace("\n    ", "\n").replace("../k8s", k8s)
    (tmp_path / "kustomization.yaml").write_text(text)
    command = [f"{sysconfig.get_path('scripts')}/kubectl", "kustomize", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifests = list(yaml.safe_load_all(done.stdout))
    images = [line.strip() for line in done.stdout.splitlines() if "image: " in line]
    ours = [image for image in images if "cascade-" in image]
    assert len(ours) > 1
    assert all("image: REGISTRY/cascade-" in image for image in ours)
    (settings,) = [
        manifest
        for manifest in manifests
        if manifest["kind"] == "ConfigMap"
        and manifest["metadata"]["name"].startswith("cascade-settings")
    ]
    assert settings["data"]["CASCADE_BLOB_URL"] == "s3://BUCKET"
    assert settings["data"]["CASCADE_DEVICE"] == "cuda"
    (service,) = [m for m in manifests if m["kind"] == "RayService"]
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = Pod(group["groupName"], {}, group["template"]["spec"])
        for container in pod.containers:
            source = container["envFrom"][0]["configMapRef"]["name"]
            assert source == settings["metadata"]["name"]


def test_monitors_and_rules_get_the_label_of_ones_own_prometheus(tmp_path: Path) -> None:
    (line,) = re.findall(r"add `(labels: .*?)` to your\s+overlay", OBSERVABILITY)
    prod = os.path.relpath(ROOT / "k8s" / "overlays" / "prod", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{prod}]\n{line}\n")
    watched = [m for m in kustomized(tmp_path) if m["kind"] in ("PodMonitor", "PrometheusRule")]
    assert [m["metadata"]["labels"]["release"] for m in watched] == ["NAME"] * 3


def test_what_an_upgrade_costs_is_what_the_overlays_say() -> None:
    page = " ".join(PAGE.split("## Upgrades")[1].split("\n## ")[0].split())
    whole = ray_service("prod")["spec"]
    assert whole["upgradeStrategy"] == {"type": "NewCluster"}
    assert "twice the GPUs until the old one is removed, five minutes later" in page
    assert whole["rayClusterDeletionDelaySeconds"] == 5 * 60


def test_it_names_every_overlay() -> None:
    assert {name for name in OVERLAYS if f"`{name}`" not in PAGE} == set()
    assert {path.name for path in (ROOT / "k8s" / "overlays").iterdir()} == set(OVERLAYS)


def test_its_table_of_components_is_what_is_there() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \| ", PAGE, re.M)) == set(COMPONENTS)


def test_its_namespace_is_the_one_that_the_overlays_are_for() -> None:
    assert "kubectl apply -f k8s/namespace.yaml" in PAGE
    assert (ROOT / "k8s" / "namespace.yaml").is_file()


def test_logs_are_kept_as_far_as_it_says() -> None:
    (most,) = re.findall(r"at most (\d+) MB for each\s+process", OBSERVABILITY)
    settings = next(
        m["data"]
        for m in built("prod")
        if m["kind"] == "ConfigMap" and m["metadata"]["name"].startswith("cascade-settings")
    )
    kept = 1 + int(settings["RAY_ROTATION_BACKUP_COUNT"])
    assert int(settings["RAY_ROTATION_MAX_BYTES"]) * kept == int(most) * 10**6


def test_its_commands_name_what_the_manifests_make() -> None:
    service = ray_service("prod")["metadata"]["name"]
    assert f"kubectl wait rayservice/{service} " in PAGE
    assert f"svc/{serve_service_name(ray_service('prod'))} 8000" in PAGE
    # Keys are made where the database is: in the laptop's overlay, that is on the worker's volume.
    found_command = re.search(r"pod -l (\S+)=(\S+) -o .* -c (\S+) --", PAGE)
    assert found_command is not None
    key, value, container = found_command.groups()
    for overlay in OVERLAYS:
        found = [pod for pod in ray_pods(overlay) if pod.labels.get(key) == value]
        assert found
        for pod in found:
            (ray,) = pod.spec["containers"]
            assert ray["name"] == container
            has_database = "CASCADE_DATABASE_URL" in environment(overlay, ray)
            assert has_database or "persistentVolumeClaim" in str(pod.spec["volumes"])
