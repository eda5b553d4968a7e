"""Folders that look like a model's, without weights that could be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

UNET, TEXT = "diffusion_pytorch_model", "model"
PARTS = {"prior": UNET, "text_encoder": TEXT, "decoder": UNET, "vqgan": UNET}


def write_part(folder: Path, weights: str, content: bytes = b"weights") -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / f"{weights}.safetensors").write_bytes(content)


def write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "tokenizer_config.json").write_text("{}")


def write_json(path: Path, **body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
