"""The messages: what they show, what Discord takes, and what can be read back from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.files import PictureFile
from bot.markdown import MAX_PROMPT_CHARS, one_line
from bot.progress import Snapshot
from bot.texts import Texts, Voice
from bot.ui import layouts, panels
from bot.ui.parts import Layout
from tests.bot.conftest import JOB_ID, JobMaker, job_like

BUTTON, TEXT, GALLERY = 2, 10, 12


def walk(components: list[Any]) -> Iterator[dict[str, Any]]:
    for component in components:
        yield component
        yield from walk(component.get("components", []))


def of_type(layout: Layout, kind: int) -> list[dict[str, Any]]:
    return [item for item in walk(layout.to_components()) if item["type"] == kind]


def words(layout: Layout) -> str:
    return "\n".join(item["content"] for item in of_type(layout, TEXT))


def files(count: int, is_original: bool = True) -> list[PictureFile]:
    return [PictureFile(f"p{index}.png", b"x", is_original) for index in range(count)]


@pytest.mark.parametrize("pictures", [1, 2, 4])
@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_every_layout_keeps_to_discords_limits(
    texts: Texts, make_job: JobMaker, pictures: int, language: str
) -> None:
    voice = Voice(texts, language)
    long = "*" * MAX_PROMPT_CHARS
    job = make_job(pictures, prompt=long, negative_prompt=long)
    shown = [
        layouts.finished(voice, job, files(pictures, False), links=["http://x"], original_s=2.0),
        layouts.live(voice, JOB_ID, long, Snapshot(stage="c", n=4), ("a.webp", b"x")),
        layouts.live(voice, JOB_ID, long, Snapshot(position=3, done_at=1)),
        layouts.ended(voice, job, "no"),
        layouts.resting(voice, JOB_ID, long),
        panels.info(voice, job, [], [f"https://pictures.example.org/{'x' * 200}"] * pictures),
    ]
    for layout in shown:
        everything = list(walk(layout.to_components()))
        ids = [item["custom_id"] for item in everything if "custom_id" in item]
        assert len(everything) <= 40
        assert sum(len(item.get("content", "")) for item in everything) <= 4000
        assert len(set(ids)) == len(ids)
        assert all(len(item["label"]) <= 34 for item in of_type(layout, BUTTON))
        for item in everything:
            assert len(item.get("components", [])) <= (5 if item["type"] == 1 else 10)


async def test_every_picture_has_an_alt_text_and_hides_behind_a_spoiler(
    voice: Voice, make_job: JobMaker
) -> None:
    layout = layouts.finished(voice, make_job(2), files(2), spoiler=True)
    [shown] = of_type(layout, GALLERY)
    assert [item["description"] for item in shown["items"]] == ["a red fox"] * 2
    assert all(item["spoiler"] for item in shown["items"])
    assert [item["media"]["url"] for item in shown["items"]] == [
        "attachment://p0.png",
        "attachment://p1.png",
    ]
    assert [name for name, _ in layout.files] == ["p0.png", "p1.png"]


async def test_each_of_several_pictures_can_be_varied(voice: Voice, make_job: JobMaker) -> None:
    job = make_job(3)
    job = replace(job, images=(job.images[0], job.images[2]))
    ids = [item["custom_id"] for item in of_type(layouts.finished(voice, job, files(2)), BUTTON)]
    assert ids[:2] == [f"v1:vary:{JOB_ID}:0", f"v1:vary:{JOB_ID}:2"]
    assert {one.split(":")[1] for one in ids} == {"vary", "reroll", "edit", "info", "delete"}


async def test_a_variation_says_how_long_it_took_against_the_original(
    voice: Voice, texts: Texts, make_job: JobMaker
) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0")
    assert "3.8 s; the original took 12 s" in words(
        layouts.finished(voice, job, files(1), original_s=12.3)
    )
    german = layouts.finished(Voice(texts, "de"), job, files(1), original_s=6.5)
    assert "3,8 s; das Original brauchte 6,5 s" in words(german)


async def test_a_smaller_file_comes_with_a_link_to_the_original(
    voice: Voice, make_job: JobMaker
) -> None:
    job = make_job()
    assert "smaller" not in words(layouts.finished(voice, job, files(1)))
    shrunk = layouts.finished(voice, job, files(1, False), links=["https://x.example/a"])
    assert "[1](https://x.example/a)" in words(shrunk)
    assert "Original" not in words(layouts.finished(voice, job, files(1, False)))


async def test_the_live_message_shows_place_stage_bar_and_time(voice: Voice) -> None:
    def shown(snapshot: Snapshot) -> str:
        return words(layouts.live(voice, JOB_ID, "a fox", snapshot))

    assert "3 ahead · done <t:99:R>" in shown(Snapshot(position=3, done_at=99))
    assert "Waiting" in shown(Snapshot(position=0))
    working = shown(Snapshot(stage="b", step=2, steps=10, index=1, n=4, done=(0.5,) * 4, done_at=9))
    assert "▰▰▰▰▰▰▱▱▱▱▱▱  50 %" in working
    assert "Adding details 2/10 · 2/4 · done <t:9:R>" in working


async def test_a_layout_costs_no_memory_once_it_is_sent(voice: Voice, make_job: JobMaker) -> None:
    assert layouts.finished(voice, make_job(), files(1)).is_finished()


@given(prompt=st.text(max_size=1200), negative=st.text(max_size=300))
async def test_the_edit_form_gets_back_what_the_message_was_made_of(
    texts: Texts, prompt: str, negative: str
) -> None:
    prompt, negative = one_line(prompt) or "x", one_line(negative)
    job = job_like(prompt=prompt, negative_prompt=negative)
    layout = layouts.finished(Voice(texts, "fr"), job, files(1), original_s=1.0)
    values = layouts.values_of(layout.to_components())
    assert (values.prompt, values.negative_prompt) == (prompt, negative)
    assert (values.seed, values.size) == ("7", "1024x768")
