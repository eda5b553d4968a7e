"""Builds the Grafana dashboard from the metric definitions.

python -m serve.telemetry.dashboard > k8s/monitoring/dashboard.json
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from serve.telemetry.dashboard_panels import ROWS, Panel

_PANEL_WIDTH: Final = 8
_PANEL_HEIGHT: Final = 8
_COLUMNS: Final = 3
_SERIES: Final = re.compile(r"\b(ray_\w+)(?:\{([^}]*)\})?")


def dashboard() -> dict[str, Any]:
    """Return Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        for number, panel in enumerate(row):
            x, line = number % _COLUMNS * _PANEL_WIDTH, number // _COLUMNS
            at = {"h": _PANEL_HEIGHT, "w": _PANEL_WIDTH, "x": x, "y": y + line * _PANEL_HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, at))
        y += -(-len(row) // _COLUMNS) * _PANEL_HEIGHT
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource"}
    namespace = {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": "label_values(ray_cascade_jobs_open, namespace)",
        "refresh": 2,  # when the time range changes
        "includeAll": True,
        "allValue": ".*",  # matches series without a namespace, too
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": "cascade-serve",
        "title": "Cascade Serve",
        "tags": ["cascade"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair through all panels
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source | {"query": "prometheus"}, namespace]},
        "panels": panels,
    }


def scoped(expr: str) -> str:
    """Return a query limited to the chosen namespace and, on Ray Serve's series, to our app."""

    def with_matchers(found: re.Match[str]) -> str:
        matchers = ['namespace=~"$namespace"']
        if found[1].startswith("ray_serve_"):
            matchers.append('application="cascade"')
        matchers += [found[2]] if found[2] else []
        return f"{found[1]}{{{', '.join(matchers)}}}"

    return _SERIES.sub(with_matchers, expr)


def _panel(panel: Panel, panel_id: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": panel_id,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.why,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": scoped(expr),
             "legendFormat": legend}
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
