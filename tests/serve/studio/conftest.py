from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI

from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.studio.files import PREACT, StudioFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page of few files; Preact is installed."""
    folder = tmp_path / "static"
    for name, text in {
        "index.html": '<html>{styles}{modules}<script src="{assets}/app.js"></script></html>',
        "unavailable.html": "<html>{styles}<p>not installed</p></html>",
        "app.js": 'import "./core/api.js";',
        "core/api.js": 'export {\n  a,\n} from "../vendor/preact.js";',
        "create/create.js": 'import "../core/api.js";\nexport const later = import("./later.js");',
        "create/later.js": "export {};",
        "library/library.js": 'import "./grid.js";',
        "library/grid.js": "export {};",
        "styles/parts.css": "a {}",
        "styles/base.css": "b {}",
        "locale/de/frame.json": '{"create": "Erstellen"}',
        "icon.svg": "<svg/>",
        PREACT: "export {};",
        "vendor/htm-LICENSE": "a licence",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def files(folder: Path) -> StudioFiles:
    return StudioFiles(folder)


@pytest.fixture
def app(services: Services, files: StudioFiles, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr("serve.gateway.application.studio_files", lambda: files)
    return create_app(services)
