"""The figures of all runs on one card: each is saved when it is there, and a run may be partial."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from bench.gpu.table import table
from bench.stats import machine, save_result

NAME = "gpu"
Figures = dict[str, Any]


class Results:
    """Adds to what earlier runs on the same card, with the same model, have measured.

    Args:
        scale: the model's size.
        dtype: of its weights.
        folder: where `gpu.json` and `gpu.md` are; None saves nothing.
    """

    def __init__(self, scale: str, dtype: torch.dtype, folder: Path | None) -> None:
        self._folder = folder
        self.all: dict[str, Any] = {
            "machine": machine(),
            "software": {one.__name__: one.__version__ for one in (torch, diffusers, transformers)},
            "scale": scale,
            "dtype": str(dtype).removeprefix("torch."),
            "parts": self._earlier_parts(scale),
        }

    def attempt(
        self, part: str, name: str, measure: Callable[[], Figures], what: Figures | None = None
    ) -> Figures | None:
        """Measure one row of a part's table; returns None if it failed, and the row says why.

        Args:
            part: the table.
            name: of the row.
            measure: returns its figures.
            what: known of the row before, and also if it fails.
        """
        rows = self._measured(name, lambda: {name: measure()})
        self._add(part, name, rows[name] | (what or {}))
        return None if "failed" in rows[name] else rows[name]

    def attempt_all(self, part: str, name: str, measure: Callable[[], dict[str, Figures]]) -> None:
        """Measure rows of a part's table by their names; a failure is one row, called ``name``."""
        for row, figures in self._measured(name, measure).items():
            self._add(part, row, figures)

    def _measured(self, name: str, measure: Callable[[], dict[str, Figures]]) -> dict[str, Figures]:
        try:
            return measure()
        except Exception as error:
            # Rows of a Markdown table hold no bars.
            first_line = str(error).strip().partition("\n")[0].replace("|", "/")
            return {name: {"failed": f"{type(error).__name__}: {first_line}"[:300]}}
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _add(self, part: str, name: str, figures: Figures) -> None:
        """Add a row and save all."""
        self.all["parts"].setdefault(part, {})[name] = figures
        print(f"{part}: {name}: {figures.get('failed', 'done')}", flush=True)
        if self._folder is not None:
            save_result(NAME, self.all, table(self.all), self._folder)

    def _earlier_parts(self, scale: str) -> dict[str, Any]:
        path = self._folder / f"{NAME}.json" if self._folder else None
        if path is None or not path.exists():
            return {}
        earlier = json.loads(path.read_text())
        is_same = earlier["machine"]["device"] == machine()["device"] and earlier["scale"] == scale
        return dict(earlier["parts"]) if is_same else {}
