"""The page's files: which have an address, and what changes it."""

from __future__ import annotations

import re
import tomllib
from glob import glob
from pathlib import Path

import pytest

from serve.studio.files import MEDIA_TYPES, PREACT, STATIC, StudioFiles

ROOT = Path(__file__).parents[3]
TEMPLATES = {"index.html", "unavailable.html"}


@pytest.mark.parametrize("name", ["app.js", "locale/de/frame.json", PREACT, "index.html"])
def test_the_address_changes_with_the_content_of_each_file(folder: Path, name: str) -> None:
    before = StudioFiles(folder).digest
    assert StudioFiles(folder).digest == before
    (folder / name).write_text("changed")
    assert StudioFiles(folder).digest != before


def test_the_address_changes_when_a_file_is_renamed_or_removed(folder: Path) -> None:
    first = StudioFiles(folder).digest
    (folder / "app.js").rename(folder / "boot.js")
    second = StudioFiles(folder).digest
    (folder / "boot.js").unlink()
    assert len({first, second, StudioFiles(folder).digest}) == 3


def test_the_page_links_to_its_styles_in_their_order_and_to_its_script(folder: Path) -> None:
    files = StudioFiles(folder)
    address = f"/studio/assets/{files.digest}"
    links = "\n".join(
        f'<link rel="stylesheet" href="{address}/styles/{name}.css">' for name in ("base", "parts")
    )
    script = f'<script src="{address}/app.js"></script>'
    page = files.page("nowhere")
    assert page.startswith(f"<html>{links}<link")
    assert page.endswith(f"{script}</html>")
    assert files.problem == ""


@pytest.mark.parametrize(
    ("view", "own"),
    [
        ("", {"create/create.js"}),
        ("library", {"library/library.js", "library/grid.js"}),
        ("library/deeper", {"library/library.js", "library/grid.js"}),
        ("nowhere", set()),
        ("../core", set()),
        ('"><script>', set()),
    ],
)
def test_the_page_tells_a_browser_of_the_modules_that_its_view_begins_with(
    folder: Path, view: str, own: set[str]
) -> None:
    files = StudioFiles(folder)
    links = re.findall(r'<link rel="modulepreload"([^>]*) href="([^"]+)">', files.page(view))
    low = ' fetchpriority="low"'
    expected = [("", "core/api.js"), ("", PREACT), *((low, name) for name in sorted(own))]
    assert links == [(how, f"/studio/assets/{files.digest}/{name}") for how, name in expected]


def test_without_preact_the_page_is_one_that_says_so(folder: Path) -> None:
    (folder / PREACT).unlink()
    files = StudioFiles(folder)
    assert "make install" in files.problem
    assert "not installed" in files.page()
    assert "script" not in files.page()


def test_every_file_of_the_page_has_an_address_but_for_its_templates() -> None:
    names = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    without = {name for name in names if Path(name).suffix not in MEDIA_TYPES}
    assert {name for name in without if not name.startswith("vendor/")} == TEMPLATES


def test_every_file_of_the_page_is_in_a_built_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["serve"]
    # As setuptools reads them.
    packed = {
        name for one in patterns for name in glob(one, root_dir=ROOT / "serve", recursive=True)
    }
    ours = {str(path.relative_to(ROOT / "serve")) for path in STATIC.rglob("*") if path.is_file()}
    assert len(ours) > len(TEMPLATES)
    assert ours <= packed
