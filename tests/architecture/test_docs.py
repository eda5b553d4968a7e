"""README and the pages of docs/ say what is true now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from bench.readme import BEGIN, END, PAGE, page, performance_section
from bot.settings import Settings as BotSettings
from bot.settings import variable
from docs.tables import TABLES, routes, shown
from serve.cli.main import app
from serve.settings import ENV_PREFIX, OTHER_VARIABLES, Settings, all_variables

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name != "CHANGELOG.md"
}
PROSE = "\n".join(PAGES.values())
MOST_LINES = {"README.md": 250, "docs/architecture.md": 160}


def headings(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_figures_shown_are_those_measured() -> None:
    measured = README.split(BEGIN)[1].split(END)[0].strip()
    assert measured == performance_section().strip()
    assert PAGE.read_text() == page()


@pytest.mark.parametrize(("file", "name"), TABLES)
def test_the_tables_are_those_of_the_code(file: str, name: str) -> None:
    assert shown(file, name) == TABLES[file, name](), "run `python -m docs.tables`"


def test_every_setting_is_explained() -> None:
    fields = {**Settings.model_fields, **BotSettings.model_fields}
    assert [name for name, field in fields.items() if not field.description] == []


def test_every_variable_that_is_named_exists() -> None:
    named = set(re.findall(rf"\b(?:{ENV_PREFIX}|BOT_|DISCORD_)[A-Z_]*[A-Z]\b", PROSE))
    assert named <= all_variables().keys() | OTHER_VARIABLES | {
        variable(name) for name in BotSettings.model_fields
    }


@pytest.mark.parametrize("file", PAGES)
def test_every_file_and_heading_that_is_linked_to_is_there(file: str) -> None:
    folder = (ROOT / file).parent
    broken = []
    for link in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[file]):
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / file
        if not target.exists() or (anchor and anchor not in headings(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_module_that_is_named_is_there() -> None:
    rooms = "bench|bot|cascade_core|docs|recipe|serve|tests"
    named = set(re.findall(rf"(?<![\w/.-])((?:{rooms})(?:\.[a-z]\w*)+)", PROSE))
    missing = []
    for name in named:
        path = ROOT / name.replace(".", "/")
        # The last part may be an object of the module.
        if not any(p.is_dir() or p.with_suffix(".py").exists() for p in (path, path.parent)):
            missing.append(name)
    assert missing == []


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?:^    |`|bin/|&& )cascade ([a-z]+)", PROSE, flags=re.MULTILINE))
    commands = get_command(app).list_commands(None)
    assert "generate" in named
    assert named <= set(commands)


def test_every_route_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[\w/{}]+)", PROSE))
    assert named <= set(re.findall(r"^\| `([A-Z]+ [^`]+)`", routes(), flags=re.MULTILINE))


def test_every_page_is_linked_from_readme() -> None:
    assert {
        f"({name})" for name in PAGES if name != "README.md" and f"({name})" not in README
    } == set()


@pytest.mark.parametrize("file", MOST_LINES)
def test_pages_that_everybody_reads_are_short(file: str) -> None:
    assert len(PAGES[file].splitlines()) <= MOST_LINES[file]
