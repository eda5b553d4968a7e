"""Checkers as operators write them; some are imported by path."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

from PIL import Image

from cascade_core.request import GenerationRequest
from serve.checker import Refusal
from serve.storage.records import JobOwner

REJECTED_SEED = 62


class ByUser:
    """Refuses what one end user asks for."""

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        return Refusal("banned user") if owner.user == "mallory" else None


class Answering(ByUser):
    """Looks at compositions, too, and answers or raises what it is told to."""

    def __init__(self, answer: Callable[[int], Any] = lambda seed: None) -> None:
        self.answer = answer
        self.seen: list[tuple[str | None, int, str]] = []

    def check_preview(
        self, preview: bytes, request: GenerationRequest, owner: JobOwner
    ) -> Refusal | None:
        self.seen.append((Image.open(io.BytesIO(preview)).format, request.seed, request.prompt))
        answer: Refusal | None = self.answer(request.seed)
        return answer


class Hanging(ByUser):
    """Answers when it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        self.released.wait()
        return None


def looking() -> Answering:
    return Answering()


def broken() -> None:
    raise RuntimeError("no model file")


def mute() -> object:
    return object()


def rejecting() -> Answering:
    """Reject the compositions of one seed."""
    return Answering(lambda seed: Refusal("unlucky", redo=True) if seed == REJECTED_SEED else None)
