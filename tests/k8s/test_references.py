"""Every image, port, label, variable, volume and command that the manifests name exists."""

from __future__ import annotations

import copy
import inspect
import re
import tomllib
from typing import Any

import pytest
from ray._private import ray_constants
from ray.serve._private import constants as serve_constants
from typer.testing import CliRunner

import bot.health as bot_health
import bot.settings as bot_settings
from serve.cli.main import app
from serve.settings import Settings, all_variables, load_settings
from tests.k8s.manifests import (
    ONE_MACHINE,
    OVERLAYS,
    ROOT,
    Pod,
    built,
    config_map,
    environment,
    groups,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    selects,
    serve_config,
)
from tests.k8s.operator_rules import STEPWISE, serve_service_name

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OUR_IMAGES = {
    "cascade-serve": {f"{VERSION}-cpu", f"{VERSION}-cuda"},
    "cascade-bot": {VERSION},
}
OTHER_VARIABLES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "HF_HOME",
    "HF_TOKEN",
    "REDIS_PASSWORD",
}
"""What obstore, huggingface_hub and the Redis container read."""
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
A_URL = "postgresql://user:secret@database/cascade"

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


def ours(overlay: str, image: str) -> list[tuple[Pod, dict[str, Any]]]:
    """Return the containers of one of our images, with their pods."""
    return [
        (pod, container)
        for pod in pods(overlay)
        for container in pod.containers
        if container["image"].startswith(f"{image}:")
    ]


def test_images_are_ours_of_this_version_or_pinned(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            name, _, tag = container["image"].partition(":")
            if name in OUR_IMAGES:
                assert tag in OUR_IMAGES[name]
            else:
                # A minor version: its tag moves on to each release that mends something.
                assert re.fullmatch(r"\d+\.\d+", tag), container["image"]


def test_the_service_knows_each_of_its_variables_and_accepts_their_values(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = all_variables().keys() | OTHER_VARIABLES
    for _, container in ours(overlay, "cascade-serve"):
        variables = environment(overlay, container)
        of_ray = {name for name in variables if name.startswith("RAY_")}
        of_logs = {"RAY_ROTATION_MAX_BYTES", "RAY_ROTATION_BACKUP_COUNT"}
        assert all(
            hasattr(ray_constants, name) or f'"{name}"' in inspect.getsource(serve_constants)
            for name in of_ray - of_logs
        )
        assert variables.keys() - of_ray <= known
        with monkeypatch.context() as context:
            for name, value in variables.items():
                context.setenv(name, A_URL if value is None else value)
            load_settings()


def test_the_bot_knows_each_of_its_variables_and_accepts_their_values(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {bot_settings.variable(name) for name in bot_settings.Settings.model_fields}
    ((pod, container),) = ours(overlay, "cascade-bot")
    variables = environment(overlay, container)
    assert variables.keys() <= known
    for name, value in variables.items():
        monkeypatch.setenv(name, "secret" if value is None else value)
    settings = bot_settings.load_settings()
    assert settings.http_port == container["ports"][0]["containerPort"]
    assert settings.http_host == "0.0.0.0"
    asked = {container[probe]["httpGet"]["path"] for probe in PROBES if probe in container}
    assert asked <= set(re.findall(r'add_get\("(.+?)"', inspect.getsource(bot_health)))
    assert pod.spec["terminationGracePeriodSeconds"] > settings.grace_s


def test_the_bot_asks_the_service_that_kuberay_makes(overlay: str) -> None:
    ((_, container),) = ours(overlay, "cascade-bot")
    port = serve_config(overlay)["http_options"]["port"]
    url = environment(overlay, container)["CASCADE_URL"]
    assert url == f"http://{serve_service_name(ray_service(overlay))}:{port}"


def test_a_stepwise_upgrade_has_no_service_whose_name_a_client_could_know(overlay: str) -> None:
    stepwise = copy.deepcopy(ray_service(overlay))
    stepwise["spec"]["upgradeStrategy"] = {"type": STEPWISE}
    assert serve_service_name(stepwise) is None


def test_commands_are_commands_of_the_image(overlay: str) -> None:
    containers = [*ours(overlay, "cascade-serve"), *ours(overlay, "cascade-bot")]
    for arguments in {tuple(container.get("args", ())) for _, container in containers} - {()}:
        words = [word for word in arguments if not word.startswith("-")]
        helped = CliRunner().invoke(app, [*words, "--help"])
        assert helped.exit_code == 0, helped.stderr
        assert all(option in helped.stdout for option in set(arguments) - set(words))


def test_ray_is_the_version_that_is_installed(overlay: str) -> None:
    version = ray_service(overlay)["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"\nray=={version}\n" in (ROOT / "constraints.txt").read_text()


def test_the_port_of_the_gateway_is_one_port_everywhere(overlay: str) -> None:
    port = serve_config(overlay)["http_options"]["port"]
    assert port == Settings.model_fields["http_port"].default
    for pod in ray_pods(overlay):
        assert {"name": "serve", "containerPort": port} in pod.spec["containers"][0]["ports"]
    (policy,) = [
        p for p in of_kind(overlay, "NetworkPolicy") if p["metadata"]["name"] == "cascade-gateway"
    ]
    assert [p["port"] for p in policy["spec"]["ingress"][0]["ports"]] == [port]


def test_probes_services_and_monitors_name_ports_that_are_there(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            named = {port["name"] for port in container.get("ports", [])}
            for kind in PROBES:
                for probe in (container.get(kind, {}).get(how) for how in ("httpGet", "tcpSocket")):
                    assert probe is None or probe["port"] in named
    for selector, ports in [
        *(({"matchLabels": s["spec"]["selector"]}, [p["targetPort"] for p in s["spec"]["ports"]])
          for s in of_kind(overlay, "Service")),
        *((m["spec"]["selector"], [e["port"] for e in m["spec"]["podMetricsEndpoints"]])
          for m in of_kind(overlay, "PodMonitor")),
    ]:  # fmt: skip
        named = [
            {port["name"] for port in pod.spec["containers"][0]["ports"]}
            for pod in pods(overlay)
            if selects(selector, pod.labels)
        ]
        # The head alone has some; each pod has one at least.
        assert set(ports) <= set().union(*named)
        assert all(found & set(ports) for found in named)


def test_every_selector_finds_a_pod(overlay: str) -> None:
    labels = [pod.labels for pod in pods(overlay)]
    selectors = [
        manifest["spec"][name]
        for manifest in built(overlay)
        for name in ("selector", "podSelector")
        if name in manifest.get("spec", {}) and manifest["kind"] != "Service"
    ]
    selectors += [{"matchLabels": s["spec"]["selector"]} for s in of_kind(overlay, "Service")]
    for policy in of_kind(overlay, "NetworkPolicy"):
        rules = policy["spec"].get("ingress", []) + policy["spec"].get("egress", [])
        peers = [peer for rule in rules for peer in rule.get("from", []) + rule.get("to", [])]
        selectors += [p["podSelector"] for p in peers if p.keys() == {"podSelector"}]
    for selector in selectors:
        assert any(selects(selector, found) for found in labels), selector


def test_each_deployment_is_placed_by_labels_that_one_group_has(overlay: str) -> None:
    (application,) = serve_config(overlay)["applications"]
    labels = [group.get("labels", {}) for group in groups(overlay)]
    for name, sizes in application["args"].items():
        wanted = sizes.get("label_selector", {}).items()
        assert overlay in ONE_MACHINE or wanted, f"{name} could land anywhere"
        assert any(wanted <= found.items() for found in labels), name


def test_volumes_claims_and_maps_are_there(overlay: str) -> None:
    claims = {claim["metadata"]["name"] for claim in of_kind(overlay, "PersistentVolumeClaim")}
    templates = {
        template["metadata"]["name"]
        for stateful_set in of_kind(overlay, "StatefulSet")
        for template in stateful_set["spec"]["volumeClaimTemplates"]
    }
    used = set()
    for pod in pods(overlay):
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts <= volumes.keys() | templates
            for source in container.get("envFrom", []):
                assert config_map(overlay, source["configMapRef"]["name"])
        used |= {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        }
    assert used == claims


def test_the_operators_page_tells_how_to_make_each_secret(overlay: str) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text().replace("\\\n", "")
    told = {
        (name, key)
        for name, rest in re.findall(r"create secret generic (\S+)(.*)", page)
        for key in re.findall(r"--from-literal=([^=\s]+)=", rest)
    }
    cluster = ray_service(overlay)["spec"]["rayClusterConfig"]
    sources = [cluster.get("gcsFaultToleranceOptions", {}).get("redisPassword", {})]
    for pod in pods(overlay):
        for container in pod.containers:
            sources += container.get("env", [])
    references = [source.get("valueFrom", {}).get("secretKeyRef") for source in sources]
    assert {(r["name"], r["key"]) for r in references if r is not None} <= told
