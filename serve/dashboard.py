"""The Grafana dashboard, made from the metric definitions.

python -m serve.dashboard > k8s/monitoring/dashboard.json
"""

from __future__ import annotations

import json
from typing import Any, Final

from serve.dashboard_panels import ROWS, Panel

_PANEL_WIDTH: Final = 8
_PANEL_HEIGHT: Final = 8
_COLUMNS: Final = 3


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
        for place, panel in enumerate(row):
            x, line = place % _COLUMNS * _PANEL_WIDTH, place // _COLUMNS
            at = {"h": _PANEL_HEIGHT, "w": _PANEL_WIDTH, "x": x, "y": y + line * _PANEL_HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, at))
        y += -(-len(row) // _COLUMNS) * _PANEL_HEIGHT
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource"}
    return {
        "uid": "cascade-serve",
        "title": "Cascade Serve",
        "tags": ["cascade"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair through all panels
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source | {"query": "prometheus"}]},
        "panels": panels,
    }


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
            {"refId": chr(ord("A") + number), "datasource": source, "expr": expr,
             "legendFormat": legend}
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
