"""Services like others, with some of them exchanged."""

from __future__ import annotations

from typing import Any

from serve.gateway.dependencies import Services

_GIVEN = (
    "settings",
    "database",
    "blobs",
    "checkpoint",
    "jobs",
    "moderator",
    "family",
    "knows_clients",
)


def changed(services: Services, **changes: Any) -> Services:
    return Services(**{name: getattr(services, name) for name in _GIVEN} | changes)
