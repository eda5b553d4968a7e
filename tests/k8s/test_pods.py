"""Pods are confined, fit their nodes, and end later than what they still do."""

from __future__ import annotations

import inspect
import math
import os
import tomllib
from typing import Any

import pytest
import yaml
from ray._private.node import Node
from ray.serve._private.build_app import build_app

from serve.app import AppArgs, DeploymentArgs, build
from tests.k8s.manifests import (
    ONE_MACHINE,
    OVERLAYS,
    ROOT,
    Pod,
    environment,
    groups,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    selects,
    serve_config,
)

GPU = "nvidia.com/gpu"
ENCODER = "stage_e"
"""Encodes uploads on a CPU."""
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


def arguments(overlay: str) -> dict[str, DeploymentArgs]:
    """Return the sizes of the deployments."""
    args = AppArgs.model_validate(serve_config(overlay)["applications"][0]["args"])
    return {name: size for name, size in args if isinstance(size, DeploymentArgs)}


def group_of(overlay: str, sizes: DeploymentArgs) -> dict[str, Any]:
    """Return the group of workers that a deployment is placed on."""
    wanted = (sizes.label_selector or {}).items()
    return next(g for g in groups(overlay)[1:] if wanted <= g.get("labels", {}).items())


def most_replicas(sizes: DeploymentArgs) -> int:
    """Return how many replicas there may be."""
    return int((sizes.autoscaling or {}).get("max_replicas", sizes.num_replicas))


def test_pods_keep_to_the_restricted_standard(overlay: str) -> None:
    confined = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for pod in pods(overlay):
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["runAsUser"] > 0
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            assert container["securityContext"] == confined
    # KubeRay puts the autoscaler into the head's pod.
    autoscaler = ray_service(overlay)["spec"]["rayClusterConfig"].get("autoscalerOptions")
    assert autoscaler is None or autoscaler["securityContext"] == confined
    namespace = yaml.safe_load((ROOT / "k8s" / "namespace.yaml").read_text())
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert (namespace["metadata"]["name"], enforced) == ("cascade", "restricted")


def test_deleting_an_overlay_leaves_the_namespace_with_its_secrets_and_volumes(
    overlay: str,
) -> None:
    assert of_kind(overlay, "Namespace") == []


def test_rays_ports_ask_for_a_token(overlay: str) -> None:
    cluster = ray_service(overlay)["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52)
    # The operator would leave a variable of ours as it is.
    for pod in ray_pods(overlay):
        for container in pod.containers:
            assert not {v for v in environment(overlay, container) if v.startswith("RAY_AUTH")}


def test_one_lost_node_never_takes_both_pods_of_gateway_and_jobs(overlay: str) -> None:
    if overlay in ONE_MACHINE:
        return
    (front,) = [pod for pod in ray_pods(overlay) if pod.name == "front"]
    by_key = {c["topologyKey"]: c for c in front.spec["topologySpreadConstraints"]}
    assert by_key["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule"
    assert by_key["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "ScheduleAnyway"
    for constraint in by_key.values():
        assert constraint["maxSkew"] == 1
        assert selects(constraint["labelSelector"], front.labels)
        # Else the second cluster of an upgrade could find no node.
        assert constraint["matchLabelKeys"] == ["ray.io/cluster"]


def test_what_all_depends_on_goes_first_and_keeps_apart_from_the_front(overlay: str) -> None:
    if overlay in ONE_MACHINE:
        return
    (priority,) = of_kind(overlay, "PriorityClass")
    assert priority["value"] > 0
    assert "globalDefault" not in priority
    first = {p.name for p in pods(overlay) if p.spec.get("priorityClassName")}
    assert first == {"head", "front", "cascade-redis"}
    (front,) = [pod for pod in ray_pods(overlay) if pod.name == "front"]
    for pod in pods(overlay):
        if pod.name in ("head", "cascade-redis"):
            how = "preferredDuringSchedulingIgnoredDuringExecution"
            (wish,) = pod.spec["affinity"]["podAntiAffinity"][how]
            assert selects(wish["podAffinityTerm"]["labelSelector"], front.labels)


def test_rays_object_store_fits_into_its_volume(overlay: str) -> None:
    for group in groups(overlay):
        (shm,) = [v for v in group["template"]["spec"]["volumes"] if v["name"] == "shm"]
        assert shm["emptyDir"]["sizeLimit"] == "1Gi"
        assert int(group["rayStartParams"]["object-store-memory"]) <= 2**29


def test_rays_logs_are_bounded_well_below_the_pods_disk(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in ray_pods(overlay):
        for name, value in variables(overlay, pod).items():
            if name.startswith("RAY_ROTATION"):
                monkeypatch.setenv(name, value or "")
        source = inspect.getsource(Node.__init__)
        assert "RAY_ROTATION_MAX_BYTES" in source
        assert "RAY_ROTATION_BACKUP_COUNT" in source
        bytes_per_log = int(os.environ["RAY_ROTATION_MAX_BYTES"]) * (
            1 + int(os.environ["RAY_ROTATION_BACKUP_COUNT"])
        )
        # Some 40 logs of a busy pod: its own processes, and two of each worker.
        assert 40 * bytes_per_log < 10 * 2**30
        assert pod.spec["containers"][0]["resources"]["requests"]["ephemeral-storage"]


def test_memory_is_promised_in_full(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            resources = container["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
            assert resources["requests"]["cpu"]


def test_the_head_does_no_work(overlay: str) -> None:
    head = groups(overlay)[0]
    assert head["rayStartParams"]["num-cpus"] == head["rayStartParams"]["num-gpus"] == "0"
    assert ray_service(overlay)["spec"]["excludeHeadPodFromServeSvc"] is True


def test_a_node_has_room_for_one_replica_of_each_deployment_placed_on_it(overlay: str) -> None:
    for group in groups(overlay)[1:]:
        placed = [s for s in arguments(overlay).values() if group_of(overlay, s) is group]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert sum(s.num_cpus for s in placed) <= int(group["rayStartParams"]["num-cpus"])
        assert sum(s.num_gpus or 0 for s in placed) <= int(limits.get(GPU, 0))


def test_groups_grow_as_far_as_serve_may_ask(overlay: str) -> None:
    for sizes in arguments(overlay).values():
        group = group_of(overlay, sizes)
        if sizes.max_replicas_per_node or sizes.num_gpus == 1:
            assert most_replicas(sizes) <= group["maxReplicas"]


def test_the_budget_is_what_the_groups_may_grow_to(overlay: str) -> None:
    policy = serve_config(overlay)["applications"][0].get("autoscaling_policy")
    gpus = sum(
        group["maxReplicas"]
        * int(group["template"]["spec"]["containers"][0]["resources"]["limits"].get(GPU, 0))
        for group in groups(overlay)[1:]
    )
    fixed = sum(sizes.num_gpus or 0 for sizes in arguments(overlay).values())
    assert gpus == (policy["policy_kwargs"]["gpu_budget"] if policy else fixed)


def test_stages_of_one_machine_share_its_only_gpu_and_its_volumes(overlay: str) -> None:
    if overlay != "gpu-one":
        return
    stages = [sizes for name, sizes in arguments(overlay).items() if name.startswith("stage_")]
    assert sum(sizes.num_gpus or 0 for sizes in stages) == 1
    claims = of_kind(overlay, "PersistentVolumeClaim")
    assert {mode for claim in claims for mode in claim["spec"]["accessModes"]} == {"ReadWriteOnce"}
    # A second cluster beside the first would find no GPU.
    assert ray_service(overlay)["spec"]["upgradeStrategy"] == {"type": "None"}


def test_gpu_shares_are_stated_and_whole_fractions(overlay: str) -> None:
    for name, sizes in arguments(overlay).items():
        if overlay == "dev" or not name.startswith("stage_") or name == ENCODER:
            assert not sizes.num_gpus
        else:
            assert sizes.num_gpus, "with the GPU pods still to come, none would be seen"
            assert math.isclose(1 / sizes.num_gpus, round(1 / sizes.num_gpus))


def test_pods_outlive_their_drain_and_replicas_the_longest_wait(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ray_service(overlay)["spec"]
    workers = ray_pods(overlay)[1:]
    for name, value in variables(overlay, workers[0]).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    app = build(AppArgs.model_validate(serve_config(overlay)["applications"][0]["args"]))
    replica_s = {
        d.name: d._deployment_config.graceful_shutdown_timeout_s
        for d in build_app(app, name="cascade").deployments
    }
    for pod in workers:
        environment_of_pod = variables(overlay, pod)
        node_s = float(environment_of_pod["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] or "")
        pod_s = pod.spec["terminationGracePeriodSeconds"]
        wait_s = float(environment_of_pod["CASCADE_SYNC_WAIT_S"] or "")
        assert spec["rayClusterDeletionDelaySeconds"] > pod_s > node_s > max(replica_s.values())
        assert replica_s["Gateway"] > wait_s


def variables(overlay: str, pod: Pod) -> dict[str, str | None]:
    """Return the variables of a Ray container."""
    return environment(overlay, pod.spec["containers"][0])


def test_the_bot_is_never_there_twice_and_is_looked_after(overlay: str) -> None:
    (bot,) = of_kind(overlay, "Deployment")
    assert bot["spec"]["replicas"] == 1
    assert bot["spec"]["strategy"] == {"type": "Recreate"}
    (container,) = bot["spec"]["template"]["spec"]["containers"]
    assert container.keys() >= {"livenessProbe", "readinessProbe", "startupProbe"}


def test_a_job_migrates_the_database_that_the_service_uses(overlay: str) -> None:
    (job,) = of_kind(overlay, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]
    worker = ray_pods(overlay)[1].spec["containers"][0]
    for name in ("CASCADE_DATABASE_URL", "CASCADE_DBOS_URL", "CASCADE_DATA_DIR"):
        found = [[e for e in c.get("env", []) if e["name"] == name] for c in (container, worker)]
        assert found[0] == found[1]


def test_the_migration_is_a_job_of_the_release_that_no_change_of_settings_touches(
    overlay: str,
) -> None:
    (job,) = of_kind(overlay, "Job")
    assert job["metadata"]["name"] == f"cascade-migrate-{VERSION}"
    assert "ttlSecondsAfterFinished" not in job["spec"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in container


def test_production_grows_by_autoscaler_v2_and_the_laptop_not_at_all(overlay: str) -> None:
    cluster = ray_service(overlay)["spec"]["rayClusterConfig"]
    if overlay in ONE_MACHINE:
        assert "enableInTreeAutoscaling" not in cluster
        return
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"


def test_gpu_pods_may_run_on_nodes_that_are_kept_for_gpus(overlay: str) -> None:
    for group in groups(overlay)[1:]:
        spec = group["template"]["spec"]
        if GPU in spec["containers"][0]["resources"]["limits"]:
            assert {"key": GPU, "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
            assert overlay in ONE_MACHINE or spec["nodeSelector"]


def test_no_pool_is_drained_of_its_last_pod_and_every_pool_can_be_drained_to_it(
    overlay: str,
) -> None:
    budgets = [budget["spec"] for budget in of_kind(overlay, "PodDisruptionBudget")]
    for group in groups(overlay)[1:]:
        labels = group["template"]["metadata"]["labels"]
        kept = [b["minAvailable"] for b in budgets if selects(b["selector"], labels)]
        assert kept == ([] if overlay in ONE_MACHINE else [1])
        assert all(count <= group["minReplicas"] for count in kept)
