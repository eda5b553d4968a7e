"""The JavaScript from elsewhere: locked by its hash, and asked for at the public registry alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from serve.studio.install_preact import BUNDLE, FOLDER, PACKAGE

REGISTRY = "https://registry.npmjs.org/"


def test_every_package_is_locked_by_version_and_hash() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert lock["packages"][""]["dependencies"] == wanted
    assert packages.keys() >= {f"node_modules/{name}" for name in wanted}
    assert BUNDLE.is_relative_to(PACKAGE)
    assert str(PACKAGE) in packages
    for name, entry in packages.items():
        assert re.fullmatch(r"sha512-[\w+/]{86}==", entry["integrity"]), name
        assert entry.get("resolved", REGISTRY).startswith(REGISTRY), name
        assert "hasInstallScript" not in entry, name
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version


def test_no_javascript_of_others_is_committed() -> None:
    root = Path(__file__).parents[3]
    assert "/serve/studio/static/vendor/" in (root / ".gitignore").read_text().splitlines()
