"""Starts the service of the checkout whose interpreter runs this file.

    service.py model|null FOLDER PORT

Prints its address when it answers, and stops it when the input ends.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

IS_BEFORE = find_spec("cascade_core.checkpoints") is None
MANY = 100_000


def main() -> None:
    """Start, wait for the end of the input, stop."""
    stages, folder, port = sys.argv[1:]
    running = _start(_settings(Path(folder), int(port)), is_null=stages == "null")
    try:
        print(json.dumps({"url": running.url}), flush=True)
        sys.stdin.read()
    finally:
        running.stop()


def _settings(folder: Path, port: int) -> Any:
    module = import_module("serve.settings")
    stores = {"database_url": "", "dbos_url": "", "blob_url": ""}
    limits = {"max_open_jobs": MANY, "max_open_jobs_per_user": MANY, "reuse_latents": False}
    own = {"data_dir": folder, "http_port": port, "device": "cpu"}
    return module.Settings(**(module.load_settings().model_dump() | stores | limits | own))


def _start(settings: Any, *, is_null: bool) -> Any:
    if IS_BEFORE:
        null = import_module("bench.null_stages")
        stages = {"stages": (null.NullStageC, null.NullStage, null.NullStage)} if is_null else {}
        return import_module("serve.local").start(settings, **stages)
    null = import_module("bench.engine.null_stages")
    stages = {"stage_class": null.NullStage} if is_null else {}
    return import_module("serve.local.cluster").start(settings, **stages)


if __name__ == "__main__":
    main()
