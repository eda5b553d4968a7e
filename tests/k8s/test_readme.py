"""The operators' page in README does what it says."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import yaml

from tests.k8s.manifests import ROOT, Pod

README = (ROOT / "README.md").read_text()


def test_the_overlay_of_ones_own_builds_and_reaches_every_image_and_setting(tmp_path: Path) -> None:
    lines = README.split("`mine/kustomization.yaml`:\n")[1].split("\n    kubectl apply")[0]
    prod = os.path.relpath(ROOT / "k8s" / "overlays" / "prod", tmp_path)
    text = lines.replace("\n    ", "\n").replace("../k8s/overlays/prod", prod)
    (tmp_path / "kustomization.yaml").write_text(text)
    command = [f"{sysconfig.get_path('scripts')}/kubectl", "kustomize", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifests = list(yaml.safe_load_all(done.stdout))
    images = [line.strip() for line in done.stdout.splitlines() if "image: " in line]
    ours = [image for image in images if "cascade-" in image]
    assert len(ours) > 1
    assert all("image: REGISTRY/cascade-" in image for image in ours)
    (settings,) = [m for m in manifests if m["kind"] == "ConfigMap"]
    assert settings["data"]["CASCADE_BLOB_URL"] == "s3://BUCKET"
    assert settings["data"]["CASCADE_DEVICE"] == "cuda"
    (service,) = [m for m in manifests if m["kind"] == "RayService"]
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = Pod(group["groupName"], {}, group["template"]["spec"])
        for container in pod.containers:
            source = container["envFrom"][0]["configMapRef"]["name"]
            assert source == settings["metadata"]["name"]


def test_its_commands_name_what_the_manifests_make() -> None:
    page = README.split("## Running on Kubernetes")[1].split("\n## ")[0]
    base = (ROOT / "k8s" / "base" / "rayservice.yaml").read_text()
    assert "kubectl wait rayservice/cascade " in page
    assert "\n  name: cascade\n" in base
    assert "-c ray-head" in page
    assert "- name: ray-head\n" in base
    assert "svc/cascade-serve-svc 8000" in page
    assert "--version 1.7.0" in page
