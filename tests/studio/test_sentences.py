"""The page's sentences: each language has all of them, and the page names none that is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.studio.files import STATIC

LOCALE = STATIC / "locale"
FILES = sorted(path.stem for path in (LOCALE / "en").glob("*.json"))
_CALL = re.compile(r'\b(?:t|hasText)\(\s*"(?P<key>\w+\.[^"]+)"')
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def sentences(language: str, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((LOCALE / language / f"{name}.json").read_text("utf-8"))
    return found


def called() -> set[str]:
    modules = (path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
    return {match["key"] for path in modules for match in _CALL.finditer(path.read_text("utf-8"))}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("language", ["de", "fr"])
def test_each_language_has_the_same_sentences(language: str, name: str) -> None:
    english, other = sentences("en", name), sentences(language, name)
    assert other.keys() == english.keys()
    for key, text in english.items():
        assert set(_PLACEHOLDER.findall(other[key])) == set(_PLACEHOLDER.findall(text)), key


@pytest.mark.parametrize("name", FILES)
def test_a_files_keys_begin_with_its_name(name: str) -> None:
    assert [key for key in sentences("en", name) if not key.startswith(f"{name}.")] == []


def test_the_page_names_no_sentence_that_is_missing() -> None:
    known = {key for name in FILES for key in sentences("en", name)}
    plurals = {key.rpartition(".")[0] for key in known if key.endswith(".other")}
    assert sorted(called() - known - plurals) == []


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_each_stage_has_a_title_in_each_language(language: str) -> None:
    """The model's own title, which stands in for a missing one, is in English."""
    titles = {stage.name: stage.title for stage in STABLE_CASCADE.stages}
    frame = sentences(language, "frame")
    found = {name: frame.get(f"frame.stage.{name}", "") for name in titles}
    assert all(found.values())
    assert (found == titles) is (language == "en")


def test_no_sentence_file_is_of_one_language_only() -> None:
    names: list[set[str]] = [
        {path.name for path in Path(folder).glob("*.json")} for folder in LOCALE.iterdir()
    ]
    assert all(found == names[0] for found in names)
