"""The components open what they name, and nothing to pods that are not ours."""

from __future__ import annotations

import pytest

from serve.moderation.blocklist import Blocklist
from tests.k8s.manifests import COMPONENTS, ROOT, Manifest, added_by, ray_pods, ray_service, selects
from tests.k8s.manifests import serve_config as config
from tests.k8s.operator_rules import serve_service_name

INGRESS = [name for name in COMPONENTS if name.startswith("ingress-")]


def only(component: str, kind: str) -> Manifest:
    (found,) = [m for m in added_by(component) if m["kind"] == kind]
    return found


@pytest.mark.parametrize("component", INGRESS)
def test_an_ingress_component_opens_the_port_of_the_workers_and_no_other(component: str) -> None:
    policy = only(component, "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    assert [entry["port"] for entry in rule["ports"]] == [config("prod")["http_options"]["port"]]
    opened = [pod for pod in ray_pods("prod") if selects(policy["podSelector"], pod.labels)]
    assert opened == ray_pods("prod")[1:]
    assert rule["from"]


def test_load_balancers_of_google_cloud_are_let_in_by_their_addresses() -> None:
    (rule,) = only("ingress-gke", "NetworkPolicy")["spec"]["ingress"]
    assert {p["ipBlock"]["cidr"] for p in rule["from"]} == {"35.191.0.0/16", "130.211.0.0/22"}


def test_every_ray_pod_has_the_list_that_its_settings_name_and_sees_it_change() -> None:
    (service,) = [m for m in added_by("blocklist") if m["kind"] == "RayService"]
    maps = {m["metadata"]["name"]: m["data"] for m in added_by("blocklist") if "data" in m}
    (settings,) = [data for name, data in maps.items() if name.startswith("cascade-settings")]
    folder, _, file = settings["CASCADE_BLOCKLIST"].rpartition("/")
    assert file in maps["cascade-blocklist"]
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == folder]
        assert "subPath" not in mount
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes[mount["name"]]["configMap"] == {"name": "cascade-blocklist"}
        assert spec["containers"][0]["envFrom"][0]["configMapRef"]["name"] in maps


def test_the_list_as_it_comes_has_no_rule() -> None:
    assert len(Blocklist(ROOT / "k8s" / "components" / "blocklist" / "blocklist.txt")) == 0


def test_the_cloud_gives_tokens_to_gateway_and_jobs_alone() -> None:
    policy = only("cloud-identity", "NetworkPolicy")["spec"]
    reached = [pod for pod in ray_pods("prod") if selects(policy["podSelector"], pod.labels)]
    (front,) = reached
    assert front.spec["serviceAccountName"] == "cascade-front"
    keys = [e for e in front.containers[-1]["env"] if e["name"].startswith("AWS_")]
    assert len(keys) == 2
    assert all(entry["valueFrom"]["secretKeyRef"]["optional"] for entry in keys)


def test_the_gateways_route_leads_to_the_service_that_kuberay_makes_without_a_time_limit() -> None:
    routes = {
        m["metadata"]["name"]: m["spec"] for m in added_by("gateway-api") if "Route" in m["kind"]
    }
    (rule,) = routes["cascade"]["rules"]
    (backend,) = rule["backendRefs"]
    port = config("prod")["http_options"]["port"]
    assert backend == {"name": serve_service_name(ray_service("prod")), "port": port}
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_everything_goes_to_https_and_the_gateways_pods_are_not_shut_in_as_ours() -> None:
    gateway = only("gateway-api", "Gateway")
    # Istio gives a gateway's labels to its pods.
    assert "app.kubernetes.io/part-of" not in gateway["metadata"].get("labels", {})
    listeners = {listener["name"]: listener for listener in gateway["spec"]["listeners"]}
    assert listeners["https"]["tls"]["certificateRefs"]
    routes = [m["spec"] for m in added_by("gateway-api") if m["kind"] == "HTTPRoute"]
    by_listener = {route["parentRefs"][0]["sectionName"]: route for route in routes}
    assert by_listener.keys() == listeners.keys()
    (redirect,) = by_listener["http"]["rules"][0]["filters"]
    assert redirect["requestRedirect"]["scheme"] == "https"
