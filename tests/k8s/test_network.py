"""Who may speak to whom: nobody but those named here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.k8s.manifests import (
    OVERLAYS,
    Pod,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    selects,
    serve_config,
)

PRIVATE = {"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}
NAMES, POSTGRESQL, HTTPS, OTLP, KUBERNETES = 53, 5432, 443, 4318, 6443

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


def test_nothing_is_allowed_that_no_policy_names(overlay: str) -> None:
    (deny,) = [p for p in of_kind(overlay, "NetworkPolicy") if p["metadata"]["name"] == "deny-all"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_the_gateway_can_be_reached_from_elsewhere(overlay: str) -> None:
    gateway = {serve_config(overlay)["http_options"]["port"]}
    for pod in pods(overlay):
        allowed = rules(overlay, pod, "ingress")
        assert all(rule["from"] for rule in allowed)
        is_worker = pod.labels.get("ray.io/node-type") == "worker"
        open_to_all = [ports(r) for r in allowed if r["from"] == [{"namespaceSelector": {}}]]
        assert open_to_all == ([gateway] if is_worker else [])


def test_the_bot_reaches_the_gateway_and_public_addresses_by_https_alone(overlay: str) -> None:
    gateway = serve_config(overlay)["http_options"]["port"]
    allowed = {
        tuple(ports(rule)): rule["to"] for rule in rules(overlay, the_bot(overlay), "egress")
    }
    assert allowed.keys() == {(NAMES,), (gateway,), (HTTPS,)}
    (to,) = allowed[gateway,]
    reached = [pod for pod in pods(overlay) if selects(to["podSelector"], pod.labels)]
    assert reached == ray_pods(overlay)[1:]
    (outside,) = allowed[HTTPS,]
    assert outside["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert set(outside["ipBlock"]["except"]) == PRIVATE


def test_ray_pods_reach_each_other_stores_the_collector_and_the_kubernetes_api(
    overlay: str,
) -> None:
    for pod in ray_pods(overlay):
        allowed = rules(overlay, pod, "egress")
        inside = [rule["to"] for rule in allowed if "ports" not in rule]
        assert inside == [[{"podSelector": {"matchLabels": {"cascade/role": "ray"}}}]]
        outside = [ports(rule) for rule in allowed if "ports" in rule and "to" not in rule]
        assert outside == [{POSTGRESQL, HTTPS, OTLP, KUBERNETES}]


def test_rays_head_finds_its_redis_and_nobody_else_does(overlay: str) -> None:
    options = ray_service(overlay)["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions")
    if overlay == "dev":
        assert options is None
        return
    (service,) = of_kind(overlay, "Service")
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
    if overlay == "dev":
        return
    for pod in (*ray_pods(overlay), the_bot(overlay)):
        (monitor,) = [
            monitor["spec"]
            for monitor in of_kind(overlay, "PodMonitor")
            if selects(monitor["spec"]["selector"], pod.labels)
        ]
        (endpoint,) = monitor["podMetricsEndpoints"]
        named = {p["name"]: p["containerPort"] for p in pod.spec["containers"][0]["ports"]}
        watcher = {"kubernetes.io/metadata.name": "monitoring"}
        let_in = [
            ports(rule)
            for rule in rules(overlay, pod, "ingress")
            if rule["from"] == [{"namespaceSelector": {"matchLabels": watcher}}]
        ]
        assert any(named[endpoint["port"]] in found for found in let_in)
