"""Reads the components of a layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.views.components import Layout

ROW, BUTTON, SELECT, TEXT, GALLERY = 1, 2, 3, 10, 12


def walk(components: list[Any]) -> Iterator[dict[str, Any]]:
    for component in components:
        yield component
        yield from walk(component.get("components", []))


def of_type(layout: Layout, kind: int) -> list[dict[str, Any]]:
    return [item for item in walk(layout.to_components()) if item["type"] == kind]


def words(layout: Layout) -> str:
    return "\n".join(item["content"] for item in of_type(layout, TEXT))
