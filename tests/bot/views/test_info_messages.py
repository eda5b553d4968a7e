"""The messages about pictures, queues, settings and status."""

from __future__ import annotations

from dataclasses import replace

from bot.policy.aspects import size_of
from bot.service.models import Cost, ModelInfo, ServiceStatus
from bot.text.catalog import Catalog, Translator
from bot.views import info_messages, picture_messages
from bot.views.attachments import PictureFile
from tests.bot.conftest import JOB_ID, JobMaker
from tests.bot.layouts import BUTTON, of_type, words

MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


def files(count: int, is_original: bool = True) -> list[PictureFile]:
    return [PictureFile(f"p{index}.png", b"x", is_original) for index in range(count)]


async def test_info_says_how_long_a_variation_took_against_the_original(
    translate: Translator, catalog: Catalog, make_job: JobMaker
) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0")
    assert "3.8 s; the original took 12 s" in words(
        info_messages.info(translate, job, [], [], original_s=12.3)
    )
    german = info_messages.info(Translator(catalog, "de"), job, [], [], original_s=6.5)
    assert "3,8 s; das Original brauchte 6,5 s" in words(german)
    assert " s" not in words(picture_messages.finished(translate, job, files(1)))


async def test_info_tells_the_seconds_of_each_stage_that_the_service_gives(
    translate: Translator, make_job: JobMaker
) -> None:
    assert "2.0 s composing, 1.5 s details, 0.2 s finishing" in words(
        info_messages.info(translate, make_job(), [], [])
    )
    other = make_job(cost=Cost.from_json({"plan_s": 1.0, "c_s": 2.0}))
    assert "1.0 s plan, 2.0 s composing" in words(info_messages.info(translate, other, [], []))


async def test_the_queue_says_how_many_more_there_are_and_cancels_all(
    translate: Translator, make_job: JobMaker
) -> None:
    jobs = [replace(make_job(), id=f"{JOB_ID[:-1]}{n}", state="queued") for n in range(8)]
    panel = info_messages.queue(translate, jobs, 6, None)
    assert "and 6 more" in words(panel)
    assert of_type(panel, BUTTON)[-1]["custom_id"] == "v1:drop:all"
    one = info_messages.queue(translate, jobs[:1], 0, None)
    assert "more" not in words(one)
    assert "v1:drop:all" not in str(one.to_components())


async def test_the_queue_tells_no_time_that_could_pass(
    translate: Translator, make_job: JobMaker
) -> None:
    jobs = [make_job(state="running", eta_s=eta_s) for eta_s in (5.2, 570.0, 0.0)]
    told = words(info_messages.queue(translate, jobs, 0, None))
    assert "about 5 s left" in told
    assert "about 10 min left" in told
    assert told.count("left") == 2
    assert "<t:" not in told


async def test_info_offers_the_command_that_makes_the_picture_again(
    catalog: Catalog, translate: Translator, make_job: JobMaker
) -> None:
    width, height = size_of("landscape", MODEL)
    job = make_job(width=width, height=height, negative_prompt="text", steps=33)
    told = words(info_messages.info(translate, job, [], [], [MODEL]))
    command = "/imagine prompt: a red fox aspect: landscape negative: text seed: 7 steps: 33"
    assert f"```\n{command} guidance: 4\n```" in told
    german = words(info_messages.info(Translator(catalog, "de"), job, [], [], [MODEL]))
    assert "/imagine prompt: a red fox seitenverhältnis: Querformat ohne: text" in german
    varied = make_job(width=width, height=height, kind="vary_details", latent_id="LAT0")
    for other in (
        make_job(width=2048, height=256),
        varied,
        make_job(width=width, height=height, prompt="a ``` b"),
    ):
        assert "/imagine" not in words(info_messages.info(translate, other, [], [], [MODEL]))


async def test_info_tells_a_series_apart_and_offers_its_command(
    translate: Translator, make_job: JobMaker
) -> None:
    width, height = size_of("landscape", MODEL)
    variants = ({"colour": "red"}, {"colour": "dark, wet"})
    values = {"kind": "series", "variants": variants, "strength": 0.7, "prompt": "a {colour} mug"}
    job = make_job(2, width=width, height=height, **values)
    told = words(info_messages.info(translate, job, [], [], [MODEL]))
    assert "A series, strength 0.7" in told
    assert "-# 2 · dark, wet" in told
    assert told.count("**Seed** `7`") == 1
    command = "/series template: a {colour} mug variants: red; dark, wet strength: 0.7"
    assert f"```\n{command} aspect: landscape seed: 7\n```" in told
    kept = make_job(2, width=width, height=height, latent_id="HERO", **values)
    assert "/series" not in words(info_messages.info(translate, kept, [], [], [MODEL]))


async def test_about_names_all_models_with_their_licences(
    catalog: Catalog, translate: Translator
) -> None:
    models = [MODEL, replace(MODEL, id="me/other", licence="MIT")]
    told = words(info_messages.about(translate, models))
    assert "**demo** Apache\\-2.0\n**me/other** MIT" in told
    assert "Lizenzen" in words(info_messages.about(Translator(catalog, "de"), models))


async def test_ids_are_behind_a_button_of_info(translate: Translator, make_job: JobMaker) -> None:
    told = info_messages.info(translate, make_job(), [], [])
    assert JOB_ID not in words(told)
    assert f"v1:more:{JOB_ID}" in str(told.to_components())
    assert f"Job `{JOB_ID}`" in words(info_messages.ids(translate, make_job()))


async def test_a_status_that_is_not_ready_has_no_english_in_german(catalog: Catalog) -> None:
    found = ServiceStatus({}, 0, 0, {"succeeded": 0, "failed": 1})
    told = words(
        info_messages.status(
            Translator(catalog, "de"), found, "StageC: starting; database: no answer"
        )
    )
    assert "Nicht bereit: StageC, database" in told
    assert "starting" not in told
