"""Writes the tables of rooms, settings, routes, errors and metrics into the pages.

`python -m docs.tables` does it for all pages; a test compares the pages with the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fastapi.routing import APIRoute
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.settings import Settings as BotSettings
from bot.settings import variable
from cascade_core.errors import all_errors
from serve.gateway.application import ROUTERS
from serve.gateway.auth.permissions import Administrator, Creator, Editor, Publisher, Reader, Viewer
from serve.gateway.schemas.jobs import JobBody
from serve.responses.errors import STATUS
from serve.settings import all_variables
from serve.telemetry.metric_definitions import METRICS

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def service_settings() -> str:
    """Return the table of the service's settings."""
    return _settings(all_variables())


def bot_settings() -> str:
    """Return the table of the bot's settings."""
    return _settings({variable(name): field for name, field in BotSettings.model_fields.items()})


def job_fields() -> str:
    """Return the table of the fields of the body that makes a job."""
    properties = JobBody.model_json_schema()["properties"]
    of_kinds_first = sorted(properties, key=lambda name: name not in JobBody.__annotations__)
    rows = [
        (f"`{name}`", _limits(properties[name]), properties[name]["description"])
        for name in of_kinds_first
    ]
    return _table(("field", "values", "meaning"), rows)


def routes() -> str:
    """Return the table of the HTTP routes, with the scope that a key needs for each."""
    rows = [
        (f"`{method} {route.path.replace(':path', '')}`", _scope(route), _summary(route.endpoint))
        for route in _routes()
        for method in sorted(route.methods or ())
    ]
    return _table(("route", "scope", "what it does"), rows)


def errors() -> str:
    """Return the table of the codes that errors carry, by HTTP status."""
    by_status = sorted(all_errors().items(), key=lambda item: (STATUS[item[0]], item[0]))
    rows = [(f"`{code}`", str(int(STATUS[code])), _summary(error)) for code, error in by_status]
    return _table(("code", "status", "meaning"), rows)


def metrics() -> str:
    """Return the table of the service's own metrics."""
    rows = [
        (f"`{metric.series[0]}`", metric.kind, ", ".join(metric.labels), metric.help)
        for metric in METRICS
    ]
    return _table(("metric", "kind", "labels", "what it measures"), rows)


def rooms() -> str:
    """Return the table of the packages, each with the first sentence of its docstring."""
    folders = [
        entrance.parent.relative_to(ROOT)
        for top in ("serve", "bot", "cascade_core")
        for entrance in sorted((ROOT / top).rglob("__init__.py"))
        if "migrations" not in entrance.parts
    ]
    rows = [(f"[`{folder}`](../{folder})", _about(ROOT / folder)) for folder in folders]
    return _table(("room", "what is in it"), rows)


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("architecture.md", "rooms"): rooms,
    ("settings.md", "settings"): service_settings,
    ("discord-bot.md", "settings"): bot_settings,
    ("http-api.md", "fields"): job_fields,
    ("http-api.md", "routes"): routes,
    ("http-api.md", "errors"): errors,
    ("observability.md", "metrics"): metrics,
}
"""By page and name: what stands between the page's markers of that name."""


def shown(page: str, name: str) -> str:
    """Return the table that stands in a page now."""
    begin, end = _markers(name)
    return (DOCS / page).read_text().split(begin)[1].split(end)[0].strip()


def update() -> None:
    """Rewrite every table."""
    for (page, name), table in TABLES.items():
        begin, end = _markers(name)
        before, rest = (DOCS / page).read_text().split(begin)
        after = rest.split(end)[1]
        (DOCS / page).write_text(f"{before}{begin}\n{table()}\n{end}{after}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _settings(fields: dict[str, FieldInfo]) -> str:
    rows = [
        (f"`{name}`", _default(field), _values(field), _linked(field.description or ""))
        for name, field in fields.items()
    ]
    return _table(("variable", "default", "values", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None or value in (None, "") or isinstance(value, SecretStr):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    """Return which values a field takes; empty: any text."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation) if value)
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = {
        name: f"{bound}"
        for item in field.metadata
        for name in ("ge", "gt", "le")
        if (bound := getattr(item, name, None)) is not None
    }
    lowest = bounds.get("ge") or (f"above {bounds['gt']}" if "gt" in bounds else "")
    highest = bounds.get("le")
    return f"{lowest} to {highest}" if highest else lowest and f"{lowest} or more"


def _limits(schema: dict[str, Any]) -> str:
    """Return which values a field of a JSON schema takes, in words."""
    value = {**schema.get("anyOf", [{}])[0], **schema}
    if "enum" in value:
        return ", ".join(f"`{name}`" for name in value["enum"])
    if "maxItems" in value:
        return f"{value['minItems']} to {value['maxItems']} JSON objects of texts"
    if "maxLength" in value:
        return f"text, at most {value['maxLength']} characters"
    if "maximum" not in value:
        return "a JSON object" if value["type"] == "object" else "text"
    step = f", multiples of {value['multipleOf']}" if "multipleOf" in value else ""
    return f"{value['minimum']:g} to {value['maximum']:.10g}{step}"


def _linked(text: str) -> str:
    """Return a docstring in one line, the pages that it names as links."""
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", " ".join(text.split()))


def _routes() -> Iterator[APIRoute]:
    """Yield the documented routes, by path."""
    found = [
        route
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
    ]
    yield from sorted(found, key=lambda route: route.path.removeprefix("/v1"))


def _scope(route: APIRoute) -> str:
    hints = get_type_hints(route.endpoint, include_extras=True).values()
    for scope, parameter in (("admin", Administrator), ("publish", Publisher)):
        if parameter in hints:
            return scope
    if any(hint in (Creator, Editor) for hint in hints):
        return "create"
    return "read" if any(hint in (Reader, Viewer) for hint in hints) else "none"


def _about(package: Path) -> str:
    tree = ast.parse((package / "__init__.py").read_text())
    return _first_paragraph(ast.get_docstring(tree)).replace("``", "`")


def _summary(documented: Any) -> str:
    return _first_paragraph(documented.__doc__)


def _first_paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").split("\n\n")[0].split())


if __name__ == "__main__":
    update()
