"""A series: pictures of one composition from a template."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade_core.request import GenerationRequest
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import has_button, opened_form
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.rules.permissions import Permission

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

TEMPLATE = "a {colour} fox"
MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


async def series(stage: Stage, **options: object) -> tuple[str, Message]:
    """Ask for a series and wait for its pictures."""
    given = {"template": TEMPLATE, "variants": "red, blue, green"} | options
    asked = await stage.alice.slash(stage.channel, "series", **given)
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: has_button(m, "cancel"))
    await finished(stage, job_id, message)
    return job_id, message


async def finished(stage: Stage, job_id: str, message: Message) -> None:
    """Let a series succeed and wait for its pictures."""
    await stage.service.succeed(job_id)
    await stage.fake.wait_for(lambda: has_button(message, "options"))


def request_of(stage: Stage, job_id: str) -> GenerationRequest:
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request


async def test_a_series_is_one_job_and_one_message_with_a_picture_for_each_variant(
    stage: Stage,
) -> None:
    job_id, message = await series(stage, seed=7, strength="strong", negative="text")
    asked = request_of(stage, job_id)
    assert (asked.kind, asked.prompt, asked.n, asked.strength) == ("series", TEMPLATE, 3, 0.9)
    assert asked.variants == [{"colour": "red"}, {"colour": "blue"}, {"colour": "green"}]
    assert (asked.seed, asked.negative_prompt, asked.latent_id) == (7, "text", None)
    assert list(message.files) == [
        "1-red-fox_s7.png", "2-blue-fox_s7.png", "3-green-fox_s7.png",
    ]  # fmt: skip
    legend = message.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "**1** red · **2** blue · **3** green" in legend
    pictures = [await stage.bytes_of(job_id, index) for index in range(3)]
    assert list(message.files.values()) == pictures


async def test_one_picture_of_a_series_goes_on_with_its_own_prompt(stage: Stage) -> None:
    job_id, message = await series(stage)
    menu = await stage.menu(message, "Vary…")
    clicked = await stage.alice.click(menu, f"v1:subtle:{job_id}:1.public")
    varied_id = await stage.submitted()
    varied = request_of(stage, varied_id)
    assert (varied.kind, varied.prompt) == ("vary", "a blue fox")
    assert varied.latent_id == stage.service.fake_jobs.images(job_id)[1].latent_id
    await stage.finished(varied_id, await clicked.reply(lambda m: "Cancel" in m.buttons))


async def test_a_series_keeps_the_composition_of_a_picture_that_is_named(stage: Stage) -> None:
    hero_id, _ = await stage.picture(count=2, negative="text", spoiler=True)
    hero = stage.service.fake_jobs.images(hero_id)[1]
    job_id, message = await series(stage, hero=hero.id)
    asked = request_of(stage, job_id)
    assert (asked.latent_id, asked.strength) == (hero.latent_id, 0.7)
    assert asked.negative_prompt == "text"
    assert str(message.components).count("'spoiler': True") == 3
    menu = await stage.menu(message, "More…")
    await stage.alice.click(menu, "Re-roll")
    other = request_of(stage, await stage.submitted())
    assert (other.latent_id, other.variants) == (hero.latent_id, asked.variants)
    assert other.seed != asked.seed


async def test_ten_pictures_are_shown_together_and_more_are_refused(stage: Stage) -> None:
    colours = [f"tint{number}" for number in range(11)]
    job_id, message = await series(stage, variants=", ".join(colours[:10]), private=True)
    assert len(message.files) == 10
    assert message.receiver == stage.alice.user
    shown = await (await stage.alice.slash(stage.channel, "show", id=job_id)).reply()
    assert len(shown.files) == 10
    asking = await stage.alice.click(shown, "Delete")
    await asking.acked()
    await stage.fake.wait_for(lambda: has_button(shown, "erase"))
    await stage.alice.select(shown, f"v1:erase:{job_id}", f"v1:erase:{job_id}:9")
    await stage.fake.wait_for(lambda: len(shown.files) == 9)
    options = {"template": TEMPLATE, "variants": ", ".join(colours)}
    refused = await (await stage.alice.slash(stage.channel, "series", **options)).reply()
    assert "1 to 10 pictures" in refused.text
    assert stage.service.submitted.empty()


async def test_one_of_many_pictures_has_a_menu_of_its_own(stage: Stage) -> None:
    tints = ", ".join(f"tint{number}" for number in range(6))
    job_id, message = await series(stage, variants=tints)
    select, third = f"v1:choose:{job_id}", f"v1:choose:{job_id}:2"
    mallory = stage.fake.person("mallory", stage.channel.guild)
    refused = await (await mallory.select(message, select, third)).reply()
    assert "another person" in refused.text
    menu = await (await stage.alice.select(message, select, third)).reply()
    assert menu.receiver == stage.alice.user
    assert "Picture 3 · tint2" in menu.text
    for button, kind in (("Vary details", "vary_details"), ("Strong", "vary"), ("Finer", "decode")):
        clicked = await stage.alice.click(menu, button)
        made_id = await stage.submitted()
        made = request_of(stage, made_id)
        assert (made.kind, made.prompt) == (kind, "a tint2 fox")
        assert made.latent_id == stage.service.fake_jobs.images(job_id)[2].latent_id
        shown = await clicked.reply(lambda m: "Cancel" in m.buttons)
        await stage.finished(made_id, shown)
        assert shown.receiver is None
        assert f"/{message.id})" in shown.text
    more = await stage.menu(message, "More…")
    again = await (await stage.alice.select(more, select, f"{third}.public")).reply()
    assert list(again.buttons) == list(menu.buttons)


async def test_a_series_is_edited_as_a_whole_and_keeps_its_seed_and_its_hero(stage: Stage) -> None:
    hero_id, _ = await stage.picture()
    job_id, message = await series(stage, seed=7, strength="0.5", hero=hero_id)
    form = await opened_form(lambda: stage.alice.click(message, "Edit"))
    assert form.prefilled == {
        "Template": TEMPLATE,
        "Variants": "red, blue, green",
        "Strength": "0.5",
        "Without": "",
        "Seed (empty: a new one)": "7",
    }
    submitted = await stage.alice.submit(form, variants="red, black", negative="text")
    edited_id = await stage.submitted()
    edited, original = request_of(stage, edited_id), request_of(stage, job_id)
    assert edited.variants == [{"colour": "red"}, {"colour": "black"}]
    assert (edited.n, edited.negative_prompt) == (2, "text")
    assert original == replace(edited, n=3, variants=original.variants, negative_prompt="")
    shown = await submitted.reply(lambda m: "Cancel" in m.buttons)
    await finished(stage, edited_id, shown)
    assert "[this](https://" in shown.text
    await stage.alice.submit(form, seed="")
    assert request_of(stage, await stage.submitted()).seed != 7


@pytest.mark.parametrize("private", [False, True])
async def test_the_menu_of_a_picture_starts_a_series_from_it(stage: Stage, private: bool) -> None:
    job_id, message = await stage.picture(count=2, negative="text", spoiler=True, private=private)
    menu = await stage.menu(message, "More…")
    form = await opened_form(lambda: stage.alice.click(menu, "Series…"))
    assert form.prefilled == {
        "Which picture?": None,
        "Template": "a red fox",
        "Variants": "",
        "Strength": "Subtle",
        "Without": "text",
    }
    values = {"which": "1", "template": TEMPLATE, "variants": "red, blue"}
    submitted = await stage.alice.submit(form, **values)
    series_id = await stage.submitted()
    asked = request_of(stage, series_id)
    assert (asked.kind, asked.prompt, asked.negative_prompt) == ("series", TEMPLATE, "text")
    assert asked.latent_id == stage.service.fake_jobs.images(job_id)[1].latent_id
    assert (asked.n, asked.strength) == (2, 0.7)
    shown = await submitted.reply(lambda m: "Cancel" in m.buttons)
    await finished(stage, series_id, shown)
    assert shown.receiver == (stage.alice.user if private else None)
    assert str(shown.components).count("'spoiler': True") == 2
    assert ("series from [this](https://" in shown.text) is not private
    told = await (await stage.alice.submit(form, which="0", variants="red, blue")).reply()
    assert "names what changes in braces" in told.text
    assert told.receiver == stage.alice.user


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"template": "a fox"}, "a {colour} mug"),
        ({"template": "a {colour} {animal}"}, "colour / animal"),
        ({"variants": "red --ar 16:9, blue"}, "--ar"),
        ({"hero": "nothing"}, "no such picture"),
        ({"hero": "nothing", "aspect": "wide"}, "shape of its hero"),
        ({"strength": "2"}, "no strength"),
    ],
)
async def test_what_makes_no_series_is_said_to_the_person_alone(
    stage: Stage, options: dict[str, str], said: str
) -> None:
    given = {"template": TEMPLATE, "variants": "red, blue"} | options
    asked = await stage.alice.slash(stage.channel, "series", **given)
    told = await asked.reply(lambda m: said in m.text)
    assert told.receiver == stage.alice.user
    assert stage.service.submitted.empty()


async def test_a_servers_rules_hold_for_every_picture_of_a_series(stage: Stage) -> None:
    admin = stage.fake.person("root", stage.channel.guild, MANAGES)
    await (await admin.slash(stage.channel, "admin limits", images=2)).reply()
    await (await admin.slash(stage.channel, "admin blocklist", add="blue fox")).reply()
    for variants, said in (("red, green, pink", "2 pictures"), ("red, blue", "blue fox")):
        given = {"template": TEMPLATE, "variants": variants}
        asked = await stage.alice.slash(stage.channel, "series", **given)
        await asked.reply(lambda m, said=said: said in m.text)  # type: ignore[misc]
    assert stage.service.submitted.empty()


async def test_another_persons_picture_is_no_hero(stage: Stage) -> None:
    hero_id, _ = await stage.picture()
    mallory = stage.fake.person("mallory", stage.channel.guild)
    given = {"template": TEMPLATE, "variants": "red, blue", "hero": hero_id}
    refused = await (await mallory.slash(stage.channel, "series", **given)).reply()
    assert "no such picture" in refused.text
    assert stage.service.submitted.empty()
