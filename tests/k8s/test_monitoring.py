"""Dashboard and alerts name what is measured, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray.dashboard.modules.reporter.reporter_agent as ray_agent
import ray.serve._private as ray_serve_private
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.telemetry.dashboard import dashboard, scoped
from serve.telemetry.dashboard_panels import RAY_METRICS, ROWS
from serve.telemetry.metric_definitions import METRICS, Metric
from tests.k8s.manifests import ROOT, config_map, of_kind

HERE = Path(__file__).parent
PAGES = " ".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
ALERTS = yaml.safe_load((ROOT / "k8s" / "monitoring" / "alerts.yaml").read_text())["spec"]
RULES = ALERTS["groups"][0]["rules"]
PANEL_EXPRESSIONS = {
    f"{panel.title} {number}": scoped(expr).replace("$__rate_interval", "5m")
    for row in ROWS.values()
    for panel in row
    for number, (expr, _) in enumerate(panel.queries)
}
EXPRESSIONS = PANEL_EXPRESSIONS | {rule["alert"]: rule["expr"] for rule in RULES}
BY_SERIES = {series: metric for metric in (*METRICS, *RAY_METRICS) for series in metric.series}
EVERYWHERE = {"le", "replica", "deployment", "application", "namespace", "ray_io_cluster"}
"""Of histograms, what Ray Serve adds to metrics of replicas, and what the PodMonitors add."""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool (Debian: apt install prometheus)"
)


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_file(folder: Path, groups: Any) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(json.dumps({"groups": groups}))
    return path


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_series_and_label_of_a_panel_or_an_alert_exists(name: str) -> None:
    expr = EXPRESSIONS[name].replace("ray_io_cluster", "cluster")
    named = set(re.findall(r"\bray_\w+", expr))
    assert named or "up{" in expr
    assert named <= BY_SERIES.keys()
    known = {"cluster", "job"} | EVERYWHERE.union(*(BY_SERIES[series].labels for series in named))
    lists = re.findall(r"\b(?:by|on) \(([^)]*)\)", expr)
    matched = re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\s*\"", expr)
    assert {label.strip() for found in lists for label in found.split(",")} | {*matched} <= known


def test_no_query_uses_the_sum_of_a_histogram_which_ray_makes_up() -> None:
    shown = " ".join((*EXPRESSIONS.values(), PAGES))
    assert not re.findall(r"\bray_\w+_sum\b", shown)


def test_every_series_of_ours_that_a_page_names_exists() -> None:
    named = set(re.findall(r"\bray_cascade_\w+", PAGES))
    assert "ray_cascade_stage_busy_seconds_total" in named
    assert named - {"ray_cascade_"} <= BY_SERIES.keys()


@pytest.mark.parametrize("page", ["docs/observability.md", "k8s/monitoring/runbook.md"])
def test_every_panel_that_a_page_names_is_on_the_dashboard(page: str) -> None:
    titles = {panel.title.partition(",")[0] for row in ROWS.values() for panel in row}
    named = re.findall(r"(?<!\*)\*([A-Z][\w -]+)\*(?!\*)", (ROOT / page).read_text())
    assert named
    assert set(named) <= titles


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_of_ours_is_on_the_dashboard(metric: Metric) -> None:
    shown = " ".join(PANEL_EXPRESSIONS.values())
    assert any(re.search(rf"\b{series}\b", shown) for series in metric.series)


def test_metrics_have_names_of_their_own_with_their_unit_and_buckets_that_grow() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"cascade_[a-z_]+", metric.name)
        assert not metric.name.endswith("_total")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


@pytest.mark.parametrize("metric", RAY_METRICS, ids=lambda metric: metric.name)
def test_the_installed_ray_has_the_metrics_of_its_own_that_are_shown(metric: Metric) -> None:
    (folder,) = ray_serve_private.__path__
    sources = [*Path(folder).glob("*.py"), Path(ray_agent.__file__)]
    text = "\n".join(path.read_text() for path in sources).replace("{protocol_name}", "http")
    kinds = re.findall(rf'(Counter|Gauge|Histogram)\(\s*(?:name=)?f?"{metric.name}",', text)
    assert {kind.lower() for kind in kinds} == {metric.kind}


def test_the_committed_dashboard_is_what_the_definitions_make() -> None:
    committed = (ROOT / "k8s" / "monitoring" / "dashboard.json").read_text()
    expected = json.dumps(dashboard(), indent=1) + "\n"
    assert committed == expected, "run python -m serve.telemetry.dashboard"
    assert json.loads(config_map("prod", "cascade-dashboard")["dashboard.json"]) == dashboard()


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(is_part, part, whole))
    return bool(part == whole)


def as_grafana_reads_it(model: dict[str, Any]) -> Any:
    """What Grafana's own types keep of it: they drop a field that they do not know."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(model)))


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    assert is_part(dashboard(), as_grafana_reads_it(dashboard()))
    mistyped = dashboard()
    for place in (mistyped, mistyped["panels"][1], mistyped["panels"][1]["targets"][0]):
        place["tpyo"] = 1
        assert not is_part(mistyped, as_grafana_reads_it(mistyped))
        del place["tpyo"]


def test_production_gets_the_alerts_as_they_are_tested() -> None:
    (deployed,) = of_kind("prod", "PrometheusRule")
    assert deployed["spec"] == ALERTS


@needs_promtool
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    shown = [
        {"record": f"panel:{number}", "expr": expr}
        for number, expr in enumerate(PANEL_EXPRESSIONS.values())
    ]
    groups = [*ALERTS["groups"], {"name": "panels", "rules": shown}]
    found = promtool("check", "rules", rules_file(tmp_path, groups))
    assert f"SUCCESS: {len(RULES) + len(shown)} rules found" in found


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    rules_file(tmp_path, ALERTS["groups"])
    cases = tmp_path / "cases.yaml"
    shutil.copy(HERE / "alert_cases.yaml", cases)
    assert "SUCCESS" in promtool("test", "rules", cases)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((HERE / "alert_cases.yaml").read_text())["tests"]
    tested = [case for group in cases for case in group["alert_rule_test"]]
    fires = {case["alertname"] for case in tested if case.get("exp_alerts")}
    rests = {case["alertname"] for case in tested if not case.get("exp_alerts")}
    assert fires == rests == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_its_place_in_the_runbook(rule: dict[str, Any]) -> None:
    file, _, place = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / file).read_text(), re.M)
    assert rule["alert"] in headings
    assert place == rule["alert"].lower()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_no_alert_adds_up_installations_or_other_applications(rule: dict[str, Any]) -> None:
    expr = rule["expr"]
    assert all("namespace" in found for found in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr))
    of_serve = re.findall(r"\bray_serve_\w+(\{[^}]*\})?", expr)
    assert all('application="cascade"' in matchers for matchers in of_serve)
    assert not re.search(r"\b(?:sum|max|avg|count|group)\(", expr)


def test_the_dashboard_shows_one_namespace_and_our_application_alone() -> None:
    chosen = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert chosen == {"datasource", "namespace"}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            for series, matchers in re.findall(r"\b(ray_\w+)(\{[^}]*\})?", target["expr"]):
                assert 'namespace=~"$namespace"' in matchers
                assert not series.startswith("ray_serve_") or 'application="cascade"' in matchers
