"""The page's modules: what they import is there, and the first view is small."""

from __future__ import annotations

import re

import pytest

from serve.studio.files import PREACT, STATIC, imported, studio_files

FIRST_VIEW_BYTES = 116_000
ALL_LINES = 6900
"""With the comments. The plan was 4000."""
FIRST = ("app.js", "create/create.js")
_STYLED = re.compile(r"^ *(\.[\w-]+)", re.MULTILINE)
"""The first class of each selector."""
MODULES = sorted(
    path.relative_to(STATIC).as_posix()
    for path in STATIC.rglob("*.js")
    if path.parent.name != "vendor"
)


@pytest.mark.parametrize("module", MODULES)
def test_every_import_is_a_file_of_the_page(module: str) -> None:
    names = imported(module, (STATIC / module).read_text())
    assert [name for name in names if not (STATIC / name).exists()] in ([], [PREACT])


def test_the_first_view_is_small() -> None:
    scripts = studio_files().modules(*FIRST)
    styles = {f"styles/{path.name}" for path in (STATIC / "styles").glob("*.css")}
    files = (STATIC / name for name in (*scripts, *styles, "create/create.css"))
    assert sum(path.stat().st_size for path in files) <= FIRST_VIEW_BYTES


def test_no_two_views_style_the_same_class() -> None:
    """The styles of a view stay when another one is shown."""
    views: dict[str, set[str]] = {}
    for path in set(STATIC.glob("*/*.css")) - set(STATIC.glob("styles/*")):
        for name in _STYLED.findall(path.read_text()):
            views.setdefault(name, set()).add(path.name)
    assert {name: sheets for name, sheets in views.items() if len(sheets) > 1} == {}


def test_the_page_stays_short_enough_to_read() -> None:
    lines = sum(len((STATIC / name).read_text().splitlines()) for name in MODULES)
    assert lines <= ALL_LINES
