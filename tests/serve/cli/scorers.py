"""Scorers of an operator's own: one that works, and ones that do not."""

from __future__ import annotations

from typing import Any

from PIL import Image

VALUE = 7


def width_and_words(picture: Image.Image, prompt: str) -> dict[str, float]:
    return {"width": picture.width, "words": len(prompt.split())}


def broken(_picture: Image.Image, _prompt: str) -> dict[str, float]:
    raise KeyError("model")


def infinite(_picture: Image.Image, _prompt: str) -> dict[str, float]:
    return {"score": float("inf")}


def text(_picture: Image.Image, _prompt: str) -> dict[str, Any]:
    return {"score": "good"}


def of_circles_alone(_picture: Image.Image, prompt: str) -> dict[str, float]:
    return {"score": float(prompt.index("circle"))}
