"""Reading the image files: instructions, and which files the build can see."""

from __future__ import annotations

import fnmatch
import re
from typing import NamedTuple

from tests.k8s.manifests import ROOT

IMAGES = ROOT / "k8s" / "images"


class Instruction(NamedTuple):
    """One instruction, its lines joined."""

    name: str
    text: str


def instructions(file: str) -> list[Instruction]:
    """Return a Dockerfile's instructions."""
    lines = (IMAGES / file).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name, rest) for name, rest in parts]


def of(file: str, name: str) -> list[str]:
    """Return the texts of one kind of instruction."""
    return [instruction.text for instruction in instructions(file) if instruction.name == name]


def copied_from_context(file: str) -> list[str]:
    """Return the sources of COPY that the repository must have."""
    copies = [text.split() for text in of(file, "COPY") if not text.startswith("--from")]
    return [source.rstrip("/") for words in copies for source in words[:-1]]


def is_sent(path: str) -> bool:
    """Return True if .dockerignore lets a path into the build; its last matching line decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if fnmatch.fnmatchcase(path, pattern) or path.startswith(f"{pattern}/"):
            sent = line.startswith("!")
    return sent
