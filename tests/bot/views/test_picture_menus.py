"""The menus of a picture's message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.text.catalog import Catalog, Translator
from bot.views import custom_ids, picture_menus
from bot.views.components import Layout
from bot.views.picture_menus import Offers
from tests.bot.conftest import JOB_ID, JobMaker
from tests.bot.layouts import BUTTON, ROW, SELECT, of_type, walk, words

EVERYTHING = Offers(variants=True, larger=(1536, 1152), finer_steps=20, series=True)


def ids_by_label(layout: Layout) -> list[tuple[str, str]]:
    return [(one["label"], one["custom_id"]) for one in of_type(layout, BUTTON)]


def chosen_ids(layout: Layout) -> list[tuple[str, str]]:
    [menu] = of_type(layout, SELECT)
    return [(option["label"], option["value"]) for option in menu["options"]]


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
    layout = picture_menus.options(translate, make_job(), "public", EVERYTHING)
    labels = [label for label, _ in ids_by_label(layout)]
    assert labels == ["Larger", "Finer", "Series…", "Re-roll", "Info"]
    assert "draws it at 1536×1152." in words(layout)  # noqa: RUF001
    assert "in 20 steps instead of 10" in words(layout)
    assert "**Series…** keeps the composition" in words(layout)
    least = picture_menus.options(translate, make_job(), "public", Offers())
    assert [label for label, _ in ids_by_label(least)] == ["Re-roll", "Info"]
    assert "Series" not in words(least)


async def test_more_of_several_pictures_leads_to_the_menu_of_each(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(4)
    job = replace(job, images=(job.images[0], job.images[3]))
    layout = picture_menus.options(translate, job, "public", EVERYTHING)
    assert chosen_ids(layout) == [
        ("1", f"v1:choose:{JOB_ID}:0.public"),
        ("2", f"v1:choose:{JOB_ID}:3.public"),
    ]
    assert ids_by_label(layout)[0] == ("Series…", f"v1:hero:{JOB_ID}:public")
    one = picture_menus.picture(translate, job, job.images[1], "public", EVERYTHING)
    assert ids_by_label(one) == [
        ("Vary details", f"v1:vary:{JOB_ID}:3.public"),
        ("Subtle", f"v1:subtle:{JOB_ID}:3.public"),
        ("Strong", f"v1:strong:{JOB_ID}:3.public"),
        ("Larger", f"v1:larger:{JOB_ID}:3.public"),
        ("Finer", f"v1:finer:{JOB_ID}:3.public"),
    ]
    assert "### Picture 2\n" in words(one)
    least = picture_menus.picture(translate, job, job.images[1], "public", Offers())
    assert [label for label, _ in ids_by_label(least)] == ["Vary details"]


async def test_a_press_in_a_menu_says_whether_the_picture_is_private(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(2)
    more = picture_menus.options(translate, job, "private", EVERYTHING)
    one = picture_menus.picture(translate, job, job.images[1], "private", EVERYTHING)
    for _, custom_id in (*ids_by_label(more), *chosen_ids(more), *ids_by_label(one)):
        pressed = custom_ids.parse(custom_id)
        assert pressed is not None
        assert pressed.is_in_menu
        assert pressed.is_private
    plain = custom_ids.parse(f"v1:reroll:{JOB_ID}")
    assert plain is not None
    assert not plain.is_in_menu


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("pictures", [1, 4, 10])
async def test_menus_keep_to_discords_limits_and_to_two_rows_of_a_phone(
    catalog: Catalog, make_job: JobMaker, language: str, pictures: int
) -> None:
    translate = Translator(catalog, language)
    variants = [{"what": "*" * 300}] * pictures
    for job in (make_job(pictures), make_job(pictures, prompt="a {what}", variants=variants)):
        for layout in (
            picture_menus.variants(translate, job, "public"),
            picture_menus.options(translate, job, "public", EVERYTHING),
            picture_menus.picture(translate, job, job.images[0], "public", EVERYTHING),
        ):
            everything = list(walk(layout.to_components()))
            ids = [item["custom_id"] for item in everything if "custom_id" in item]
            assert len(set(ids)) == len(ids)
            assert len(everything) <= 40
            assert len(of_type(layout, ROW)) <= 2
            assert all(len(row["components"]) <= 4 for row in of_type(layout, ROW))
            for menu in of_type(layout, SELECT):
                assert all(len(option["label"]) <= 100 for option in menu["options"])
