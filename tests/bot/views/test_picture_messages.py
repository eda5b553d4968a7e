"""The messages: what they show, what Discord accepts, and what can be read back from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.policy.message_credit import Credit
from bot.service.models import Job, ModelInfo
from bot.text.catalog import Catalog, Translator
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from bot.views import info_messages, picture_messages
from bot.views.attachments import PictureFile
from bot.views.snapshot import Snapshot
from cascade_core.conditioning.text import PromptLimit
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from tests.bot.conftest import JOB_ID, JobMaker, job_like
from tests.bot.layouts import BUTTON, GALLERY, ROW, SELECT, of_type, walk, words

CREDIT = Credit("vary", 4, "https://discord.com/channels/1/2/3")
MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


class ManyTokens:
    """A tokenizer that finds a token in every letter."""

    def count(self, text: str) -> int:
        return len(text)


def files(count: int, is_original: bool = True) -> list[PictureFile]:
    return [PictureFile(f"p{index}.png", b"x", is_original) for index in range(count)]


@pytest.mark.parametrize("pictures", [1, 2, 4])
@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_every_layout_keeps_to_discords_limits(
    catalog: Catalog, make_job: JobMaker, pictures: int, language: str
) -> None:
    translate = Translator(catalog, language)
    long = "*" * MAX_PROMPT_CHARS
    job = make_job(pictures, prompt=long, negative_prompt=long)
    shown = [
        picture_messages.finished(
            translate, job, files(pictures, False), links=["http://x"], credit=CREDIT
        ),
        picture_messages.live(
            translate, JOB_ID, long, Snapshot(stage="c", n=4), ("a.webp", b"x"), True, CREDIT
        ),
        picture_messages.live(translate, JOB_ID, long, Snapshot(position=3, done_at=1)),
        picture_messages.ended(translate, job, "no"),
        picture_messages.paused(translate, JOB_ID, long),
        info_messages.info(
            translate,
            job,
            [],
            [f"https://pictures.example.org/{'x' * 200}"] * pictures,
            [MODEL],
            2.0,
        ),
        info_messages.ids(translate, job),
        info_messages.queue(
            translate, [replace(job, id=f"{JOB_ID}{n}") for n in range(8)], 99, None
        ),
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
    translate: Translator, make_job: JobMaker
) -> None:
    layout = picture_messages.finished(translate, make_job(2), files(2), spoiler=True)
    [shown] = of_type(layout, GALLERY)
    assert [item["description"] for item in shown["items"]] == [
        "Picture 1 of 2: a red fox",
        "Picture 2 of 2: a red fox",
    ]
    assert all(item["spoiler"] for item in shown["items"])
    assert [item["media"]["url"] for item in shown["items"]] == [
        "attachment://p0.png",
        "attachment://p1.png",
    ]
    assert [name for name, _ in layout.files] == ["p0.png", "p1.png"]


async def test_each_of_several_pictures_can_be_varied(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(3)
    job = replace(job, images=(job.images[0], job.images[2]))
    buttons = of_type(picture_messages.finished(translate, job, files(2)), BUTTON)
    ids = [item["custom_id"] for item in buttons]
    assert ids[:2] == [f"v1:vary:{JOB_ID}:0", f"v1:vary:{JOB_ID}:2"]
    assert {one.split(":")[1] for one in ids} == {"vary", "variants", "edit", "options", "delete"}


def series_of(count: int, words_before: str = "") -> Job:
    """A finished series."""
    variants = [{"what": f"{words_before}{number}"} for number in range(count)]
    return job_like(count, kind="series", prompt="a {what} mug", variants=variants, strength=0.7)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_ten_pictures_of_a_series_keep_to_discords_limits(
    catalog: Catalog, language: str
) -> None:
    translate, job = Translator(catalog, language), series_of(10, "*" * 300)
    shown = [
        picture_messages.finished(
            translate, job, files(10, False), links=["http://x"] * 10, credit=CREDIT
        ),
        picture_messages.finished(translate, job, files(10), choose_to_delete=True),
        info_messages.info(
            translate, job, [(f"{n}.png", b"") for n in range(10)], ["http://x"] * 10, [MODEL]
        ),
        info_messages.ids(translate, job),
    ]
    for layout in shown:
        everything = list(walk(layout.to_components()))
        assert len(everything) <= 40
        assert sum(len(item.get("content", "")) for item in everything) <= 4000
        assert all(len(part["components"]) <= 4 for part in everything if part["type"] == 1)


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, [1, 2]), (6, [6]), (7, [1, 6]), (9, [9]), (10, [1, 9])]
)
async def test_no_picture_of_a_series_is_cropped(
    translate: Translator, count: int, sizes: list[int]
) -> None:
    layout = picture_messages.finished(translate, series_of(count), files(count))
    assert [len(one["items"]) for one in of_type(layout, GALLERY)] == sizes


async def test_the_message_of_a_series_says_which_picture_is_which(
    translate: Translator,
) -> None:
    job = series_of(5)
    left = replace(job, images=(*job.images[:1], *job.images[2:]))
    layout = picture_messages.finished(translate, left, files(4))
    told = words(layout)
    assert "a {what} mug" in told
    assert "**1** 0 · **2** 2 · **3** 3 · **4** 4" in told.replace("\N{NO-BREAK SPACE}", " ")
    items = [item for shown in of_type(layout, GALLERY) for item in shown["items"]]
    assert items[1]["description"] == "Picture 2 of 4: a 2 mug"
    ids = [item["custom_id"] for item in of_type(layout, BUTTON)]
    assert ids[1] == f"v1:vary:{JOB_ID}:2"
    actions = {one.split(":")[1] for one in ids}
    assert actions == {"vary", "variants", "template", "options", "delete"}


async def test_more_pictures_than_a_row_has_room_for_are_chosen_from_a_menu(
    translate: Translator,
) -> None:
    layout = picture_messages.finished(translate, series_of(5), files(5))
    assert [one["label"] for one in of_type(layout, BUTTON)] == ["Edit", "More…", "Delete"]
    [menu] = of_type(layout, SELECT)
    assert menu["options"][1] == {
        "label": "2 · 1", "value": f"v1:choose:{JOB_ID}:1", "default": False,
    }  # fmt: skip
    shown = picture_messages.shown_in(layout.to_components())
    assert (shown.job_id, shown.indices) == (JOB_ID, (0, 1, 2, 3, 4))
    asked = picture_messages.finished(translate, series_of(5), files(5), choose_to_delete=True)
    [menu] = of_type(asked, SELECT)
    assert menu["options"][4]["value"] == f"v1:erase:{JOB_ID}:4"
    assert picture_messages.shown_in(asked.to_components()).job_id == ""


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
async def test_the_messages_of_pictures_have_two_rows_at_most(
    translate: Translator, make_job: JobMaker, count: int
) -> None:
    for job in (make_job(count), series_of(count)):
        for is_asking in (False, True):
            layout = picture_messages.finished(
                translate, job, files(count), choose_to_delete=is_asking
            )
            assert len(of_type(layout, ROW)) <= 2


async def test_the_last_picture_of_a_series_is_as_any_other(translate: Translator) -> None:
    job = series_of(3)
    layout = picture_messages.finished(translate, replace(job, images=job.images[2:]), files(1))
    assert "a 2 mug" in words(layout)
    assert "{what}" not in words(layout)
    assert any(":edit:" in item["custom_id"] for item in of_type(layout, BUTTON))
    assert picture_messages.shown_in(layout.to_components()).values.prompt == "a 2 mug"


async def test_numbers_are_places_also_after_a_deletion(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(4)
    job = replace(job, images=(job.images[0], job.images[2], job.images[3]))
    shown = picture_messages.finished(translate, job, files(3))
    assert [one["label"] for one in of_type(shown, BUTTON)][:3] == ["V1", "V2", "V3"]
    asked = picture_messages.finished(translate, job, files(3), choose_to_delete=True)
    chosen = {one["label"]: one["custom_id"] for one in of_type(asked, BUTTON)}
    assert chosen["2"] == f"v1:erase:{JOB_ID}:2"
    told = words(info_messages.info(translate, job, [], ["http://x"] * 3))
    assert "**Seed 2** `9`" in told
    assert "[Original file 2]" in told
    assert "Picture 2 `IMG2`" in words(info_messages.ids(translate, job))


@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_four_buttons_stand_side_by_side_on_a_phone(
    catalog: Catalog, make_job: JobMaker, language: str
) -> None:
    """320 px have room for about 25 letters between the edges of four buttons."""
    translate = Translator(catalog, language)
    job = make_job(4)
    shown = [
        picture_messages.finished(translate, job, files(4)),
        picture_messages.finished(translate, job, files(4), choose_to_delete=True),
        info_messages.gallery_page(
            translate, 0, [replace(job, id=f"J{n}") for n in range(4)], [("x", b"")] * 4, False
        ),
    ]
    rows = [part for one in shown for part in walk(one.to_components()) if part["type"] == 1]
    for row in rows:
        assert sum(len(one["label"]) for one in row["components"]) <= 25


async def test_no_picture_of_three_is_cropped_to_a_strip(
    translate: Translator, make_job: JobMaker
) -> None:
    shown = of_type(picture_messages.finished(translate, make_job(3), files(3)), GALLERY)
    assert [len(one["items"]) for one in shown] == [1, 2]
    alts = [item["description"] for one in shown for item in one["items"]]
    assert [alt[:12] for alt in alts] == ["Picture 1 of", "Picture 2 of", "Picture 3 of"]


async def test_a_variation_shows_both_seeds_and_the_form_gets_the_compositions(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0")
    job = replace(job, images=(replace(job.images[0], decoder_seed=2558506937),))
    layout = picture_messages.finished(translate, job, files(1), credit=CREDIT)
    assert "Seed `7` · details `2558506937` · 1024×768" in words(layout)  # noqa: RUF001
    shown = picture_messages.shown_in(layout.to_components())
    assert shown.values.seed == "7"
    assert shown.is_variation


async def test_the_person_that_pressed_is_named_with_a_link_to_the_picture(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job()
    line = "-# by <@4> · new details of [this](https://discord.com/channels/1/2/3)"
    for layout in (
        picture_messages.finished(translate, job, files(1), credit=CREDIT),
        picture_messages.live(translate, JOB_ID, "a fox", Snapshot(), credit=CREDIT),
        picture_messages.ended(translate, job, "no", CREDIT),
        picture_messages.paused(translate, JOB_ID, "a fox", CREDIT),
    ):
        assert words(layout).splitlines()[0] == line
    unlinked = picture_messages.finished(translate, job, files(1), credit=Credit("edit", 4))
    assert words(unlinked).startswith("-# by <@4> · this, edited")


async def test_what_the_model_did_not_read_is_said_in_the_language(
    catalog: Catalog, make_job: JobMaker
) -> None:
    limit = PromptLimit(ManyTokens(), 77)  # type: ignore[arg-type]
    request = GenerationRequest(
        prompt="x" * 99,
        negative_prompt="y" * 99,
        width=256,
        height=256,
        seed=0,
        decoder_seed=0,
    )
    job = replace(make_job(), warnings=(*limit.warnings(request), "something *new*"))
    told = words(picture_messages.finished(Translator(catalog, "de"), job, files(1)))
    assert "nur die ersten 75 Tokens" in told
    assert "Von dem, was fehlen soll" in told
    assert "only the first" not in told
    assert r"something \*new\*" in told


async def test_a_long_negative_prompt_is_shown_shortened_and_the_form_asks_for_the_whole(
    translate: Translator, make_job: JobMaker
) -> None:
    layout = picture_messages.finished(translate, make_job(negative_prompt="blur " * 60), files(1))
    [line] = [one for one in words(layout).splitlines() if "🚫" in one]
    assert len(line) < 130
    assert picture_messages.shown_in(layout.to_components()).is_cut


async def test_a_smaller_file_comes_with_a_link_to_the_original(
    translate: Translator, make_job: JobMaker
) -> None:
    job = make_job()
    assert "smaller" not in words(picture_messages.finished(translate, job, files(1)))
    shrunk = picture_messages.finished(
        translate, job, files(1, False), links=["https://x.example/a"]
    )
    assert "[1](https://x.example/a)" in words(shrunk)
    assert "Original" not in words(picture_messages.finished(translate, job, files(1, False)))


async def test_the_live_message_shows_place_stage_bar_and_time(translate: Translator) -> None:
    def shown(snapshot: Snapshot) -> str:
        return words(picture_messages.live(translate, JOB_ID, "a fox", snapshot))

    assert "3 ahead · done <t:99:R>" in shown(Snapshot(position=3, done_at=99))
    assert "Composing" not in shown(Snapshot(stage="c", is_lost=True))
    assert "does not answer" in shown(Snapshot(stage="c", is_lost=True))
    assert "Waiting" in shown(Snapshot(position=0))
    detailing = Snapshot(stage="b", step=2, steps=10, index=1, n=4, done=(0.5,) * 4, done_at=9)
    assert "%" not in shown(detailing), "an older service tells no shares of its stages"
    working = shown(replace(detailing, stages=STABLE_CASCADE.stages))
    assert "\n50 %  ▰▰▰▱▱▱\n" in working
    assert "Adding details 2/10 · 2/4 · done <t:9:R>" in working


async def test_a_layout_costs_no_memory_once_it_is_sent(
    translate: Translator, make_job: JobMaker
) -> None:
    assert picture_messages.finished(translate, make_job(), files(1)).is_finished()


@given(
    prompt=st.text(max_size=1200),
    negative=st.text(max_size=300),
    pictures=st.integers(1, 4),
    language=st.sampled_from(["en", "de", "fr"]),
)
async def test_the_edit_form_gets_back_what_the_message_was_made_of(
    catalog: Catalog, prompt: str, negative: str, pictures: int, language: str
) -> None:
    prompt, negative = one_line(prompt) or "x", one_line(negative)
    job = job_like(pictures, prompt=prompt, negative_prompt=negative)
    layout = picture_messages.finished(
        Translator(catalog, language), job, files(pictures), credit=CREDIT
    )
    shown = picture_messages.shown_in(layout.to_components())
    values = shown.values
    assert values.prompt == prompt
    assert values.negative_prompt == negative or shown.is_cut
    assert (values.seed, values.size) == ("7", "1024x768")
    assert shown.indices == tuple(range(pictures))
    assert not shown.is_variation
