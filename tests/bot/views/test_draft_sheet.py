"""The sheet of drafts."""

from __future__ import annotations

import pytest

from bot.text.catalog import Catalog, Translator
from bot.text.markdown import MAX_PROMPT_CHARS
from bot.views.draft_sheet import draft_sheet
from tests.bot.conftest import JOB_ID, JobMaker
from tests.bot.layouts import BUTTON, GALLERY, of_type, walk, words


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_every_draft_has_its_number_and_four_stand_side_by_side(
    catalog: Catalog, make_job: JobMaker, count: int, language: str
) -> None:
    job = make_job(0, n=count, stop_after="c", state="waiting", prompt="x" * MAX_PROMPT_CHARS)
    files = [(f"draft-{number}.webp", b"x") for number in range(count)]
    layout = draft_sheet(Translator(catalog, language), job, range(count), files, spoiler=True)
    picks = [one for one in of_type(layout, BUTTON) if ":pick:" in one["custom_id"]]
    assert [one["label"] for one in picks] == [str(number) for number in range(1, count + 1)]
    assert picks[-1]["custom_id"] == f"v1:pick:{JOB_ID}:{count - 1}"
    everything = list(walk(layout.to_components()))
    assert len(everything) <= 40
    assert all(len(part["components"]) <= 4 for part in everything if part["type"] == 1)
    items = [item for shown in of_type(layout, GALLERY) for item in shown["items"]]
    assert all(item["spoiler"] and len(item["description"]) <= 1024 for item in items)
    assert len(items) == len(layout.files) == count


async def test_the_sheet_says_what_to_do(translate: Translator, make_job: JobMaker) -> None:
    job = make_job(0, n=2, stop_after="c", state="waiting")
    layout = draft_sheet(translate, job, (0, 1), [("a.webp", b"x"), ("b.webp", b"x")])
    assert "a red fox" in words(layout)
    assert "Choose the drafts to finish" in words(layout)
