"""The menus of a picture's message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.text.catalog import Catalog, Translator
from bot.views import custom_ids, picture_menus
from bot.views.components import Layout
from tests.bot.conftest import JOB_ID, JobMaker
from tests.bot.layouts import BUTTON, of_type, walk, words


def ids_by_label(layout: Layout) -> list[tuple[str, str]]:
    return [(one["label"], one["custom_id"]) for one in of_type(layout, BUTTON)]


async def test_the_menu_of_one_picture_has_a_button_for_each_strength(
    translate: Translator, make_job: JobMaker
) -> None:
    layout = picture_menus.variants(translate, make_job(), "public")
    assert ids_by_label(layout) == [
        ("Subtle", f"v1:subtle:{JOB_ID}:0.public"),
        ("Strong", f"v1:strong:{JOB_ID}:0.public"),
    ]
    assert "**Subtle** stays close" in words(layout)


async def test_the_menu_of_several_pictures_has_a_row_of_numbers_for_each_strength(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(4)
    job = replace(job, images=(job.images[0], job.images[3]))
    assert ids_by_label(picture_menus.variants(translate, job, "private")) == [
        ("1", f"v1:subtle:{JOB_ID}:0.private"),
        ("2", f"v1:subtle:{JOB_ID}:3.private"),
        ("1", f"v1:strong:{JOB_ID}:0.private"),
        ("2", f"v1:strong:{JOB_ID}:3.private"),
    ]


async def test_more_offers_what_the_model_can_do_and_says_what_it_does(
    translate: Translator, make_job: JobMaker
) -> None:
    layout = picture_menus.options(translate, make_job(), "public", (1536, 1152), 20)
    assert [label for label, _ in ids_by_label(layout)] == ["Larger", "Finer", "Re-roll", "Info"]
    assert "draws it at 1536×1152." in words(layout)  # noqa: RUF001
    assert "in 20 steps instead of 10" in words(layout)
    least = picture_menus.options(translate, make_job(), "public", None, None)
    assert [label for label, _ in ids_by_label(least)] == ["Re-roll", "Info"]


async def test_a_press_in_a_menu_says_whether_the_picture_is_private(
    translate: Translator, make_job: JobMaker
) -> None:
    layout = picture_menus.options(translate, make_job(2), "private", (1536, 1152), 20)
    for _, custom_id in ids_by_label(layout):
        pressed = custom_ids.parse(custom_id)
        assert pressed is not None
        assert pressed.is_in_menu
        assert pressed.is_private
    plain = custom_ids.parse(f"v1:reroll:{JOB_ID}")
    assert plain is not None
    assert not plain.is_in_menu


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("pictures", [1, 4])
async def test_menus_keep_to_discords_limits_and_to_two_rows_of_a_phone(
    catalog: Catalog, make_job: JobMaker, language: str, pictures: int
) -> None:
    translate = Translator(catalog, language)
    job = make_job(pictures)
    for layout in (
        picture_menus.variants(translate, job, "public"),
        picture_menus.options(translate, job, "public", (1536, 1152), 20),
    ):
        everything = list(walk(layout.to_components()))
        ids = [item["custom_id"] for item in everything if "custom_id" in item]
        assert len(set(ids)) == len(ids)
        assert len(everything) <= 40
        rows = [part for part in everything if part["type"] == 1]
        assert all(len(row["components"]) <= 4 for row in rows)
