"""Which pods may speak to which: only those named here."""

from __future__ import annotations

from typing import Any

import pytest
from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT
from ray.dashboard.consts import DASHBOARD_METRIC_PORT

from tests.k8s.manifests import (
    ONE_MACHINE,
    OVERLAYS,
    Pod,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    selects,
    serve_config,
)

PRIVATE = {
    "0.0.0.0/0": {
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    },
    "::/0": {"fc00::/7", "fe80::/10"},
}
NAMES, OPENSHIFTS, POSTGRESQL, HTTPS, OTLP, KUBERNETES = 53, 5353, 5432, 443, 4318, 6443

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)

Rules = list[dict[str, Any]]


def rules(overlay: str, pod: Pod, way: str) -> Rules:
    """Return what the policies that select a pod allow it, ``ingress`` or ``egress``."""
    policies = [policy["spec"] for policy in of_kind(overlay, "NetworkPolicy")]
    return [
        rule
        for policy in policies
        if selects(policy["podSelector"], pod.labels) and way.title() in policy["policyTypes"]
        for rule in policy.get(way, [])
    ]


def ports(rule: dict[str, Any]) -> set[int]:
    return {entry["port"] for entry in rule.get("ports", [])}


def the_bot(overlay: str) -> Pod:
    (bot,) = [pod for pod in pods(overlay) if pod.labels.get("cascade/role") == "bot"]
    return bot


def test_nothing_of_ours_is_allowed_that_no_policy_names(overlay: str) -> None:
    ours = {"matchLabels": {"app.kubernetes.io/part-of": "cascade"}}
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(overlay, "NetworkPolicy")}
    assert policies["cascade-deny-all"] == {
        "podSelector": ours,
        "policyTypes": ["Ingress", "Egress"],
    }
    assert all(selects(ours, pod.labels) for pod in pods(overlay))


def test_pods_of_others_in_the_namespace_are_left_alone(overlay: str) -> None:
    database = {"cnpg.io/cluster": "cascade", "role": "primary"}
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    for policy in of_kind(overlay, "NetworkPolicy"):
        for stranger in (database, solver, {}):
            assert not selects(policy["spec"]["podSelector"], stranger)


def test_names_are_resolved_wherever_the_cluster_answers_them(overlay: str) -> None:
    for pod in pods(overlay):
        (names,) = [rule for rule in rules(overlay, pod, "egress") if NAMES in ports(rule)]
        assert "to" not in names
        asked = {(entry["protocol"], entry["port"]) for entry in names["ports"]}
        assert asked == {(how, port) for how in ("UDP", "TCP") for port in (NAMES, OPENSHIFTS)}


def test_from_elsewhere_only_the_bot_kuberay_and_prometheus_are_let_in(overlay: str) -> None:
    gateway = serve_config(overlay)["http_options"]["port"]
    for pod in ray_pods(overlay):
        allowed = rules(overlay, pod, "ingress")
        assert all(rule["from"] for rule in allowed)
        is_worker = pod.labels["ray.io/node-type"] == "worker"
        bot = {"podSelector": {"matchLabels": {"cascade/role": "bot"}}}
        assert [ports(r) for r in allowed if r["from"] == [bot]] == (
            [{gateway}] if is_worker else []
        )
        assert not any(peer.keys() == {"namespaceSelector"} and not peer["namespaceSelector"]
                       for rule in allowed for peer in rule["from"])  # fmt: skip


def test_the_bot_reaches_the_gateway_and_public_addresses_by_https_alone(overlay: str) -> None:
    gateway = serve_config(overlay)["http_options"]["port"]
    allowed = {
        tuple(sorted(ports(rule))): rule.get("to")
        for rule in rules(overlay, the_bot(overlay), "egress")
    }
    assert allowed.keys() == {(NAMES, OPENSHIFTS), (gateway,), (HTTPS,)}
    (to,) = allowed[gateway,] or ()
    reached = [pod for pod in pods(overlay) if selects(to["podSelector"], pod.labels)]
    assert reached == ray_pods(overlay)[1:]
    outside = {peer["ipBlock"]["cidr"]: peer["ipBlock"] for peer in allowed[HTTPS,] or ()}
    assert outside.keys() == PRIVATE.keys()
    assert all(set(outside[whole]["except"]) == PRIVATE[whole] for whole in PRIVATE)


def test_ray_pods_reach_each_other_stores_the_collector_and_the_kubernetes_api(
    overlay: str,
) -> None:
    for pod in ray_pods(overlay):
        allowed = rules(overlay, pod, "egress")
        inside = [rule["to"] for rule in allowed if "ports" not in rule]
        assert inside == [[{"podSelector": {"matchLabels": {"cascade/role": "ray"}}}]]
        outside = [ports(rule) for rule in allowed if "ports" in rule and "to" not in rule]
        assert {POSTGRESQL, HTTPS, OTLP, KUBERNETES} in outside
        assert len(outside) == 2


def test_only_rays_head_finds_its_redis(overlay: str) -> None:
    options = ray_service(overlay)["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions")
    if overlay in ONE_MACHINE:
        assert options is None
        return
    (service,) = of_kind(overlay, "Service")
    assert service["spec"]["selector"]["cascade/role"] == "redis"
    port = service["spec"]["ports"][0]["port"]
    assert options["redisAddress"] == f"{service['metadata']['name']}:{port}"
    (redis,) = [p for p in pods(overlay) if service["spec"]["selector"].items() <= p.labels.items()]
    (rule,) = rules(overlay, redis, "ingress")
    allowed = [
        pod.name for pod in pods(overlay) if selects(rule["from"][0]["podSelector"], pod.labels)
    ]
    assert (allowed, ports(rule)) == (["head"], {port})
    assert any(ports(rule) == {port} for rule in rules(overlay, ray_pods(overlay)[0], "egress"))


def test_prometheus_is_told_of_every_pod_with_metrics_and_let_in(overlay: str) -> None:
    if overlay in ONE_MACHINE:
        return
    prometheus = {"app.kubernetes.io/name": "prometheus"}
    watchers = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
        {"namespaceSelector": {}, "podSelector": {"matchLabels": prometheus}},
    ]
    for pod in (*ray_pods(overlay), the_bot(overlay)):
        (monitor,) = [
            monitor["spec"]
            for monitor in of_kind(overlay, "PodMonitor")
            if selects(monitor["spec"]["selector"], pod.labels)
        ]
        asked = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
        named = {p["name"]: p["containerPort"] for p in pod.spec["containers"][0]["ports"]}
        (let_in,) = [r for r in rules(overlay, pod, "ingress") if r["from"] == watchers]
        fetched = {named[name] for name in asked & named.keys()}
        assert fetched
        assert fetched <= ports(let_in)
        if pod.name == "head":
            assert asked <= named.keys()
            assert {AUTOSCALER_METRIC_PORT, DASHBOARD_METRIC_PORT} <= fetched


def test_what_prometheus_is_told_can_be_found_by_a_stack_that_looks_for_its_release(
    overlay: str,
) -> None:
    for kind in ("PodMonitor", "PrometheusRule"):
        for manifest in of_kind(overlay, kind):
            assert manifest["metadata"]["labels"]["release"] == "prometheus"
