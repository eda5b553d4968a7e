"""A bot whose service has several models: people choose one, and their pictures keep it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest
from serve.served_models import Models, OpenModel
from tests.bot.gateway import CHECKPOINT, Service, running_service
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import has_button

pytestmark = pytest.mark.usefixtures("bot")

OTHER = replace(
    CHECKPOINT,
    id="me/other",
    fingerprint="f2",
    defaults=replace(CHECKPOINT.defaults, width=512, height=512, max_side=1024),
)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path / "service") as service:
        services = service.app.state.services
        other = OpenModel(STABLE_CASCADE.served_as("other"), OTHER)
        services.models = Models([services.models.default, other])
        yield service


def request_of(stage: Stage, job_id: str) -> GenerationRequest:
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request


async def test_a_chosen_model_makes_the_picture_and_what_is_made_from_it(stage: Stage) -> None:
    stage.service.fake_jobs.model = ModelRef("me/other", "r1", "f2")
    job_id, message = await stage.picture(model="me/other", aspect="square")
    asked = request_of(stage, job_id)
    assert (asked.model, asked.width, asked.height) == ("me/other", 512, 512)
    menu = await stage.menu(message, "More…")
    assert "Larger" in menu.buttons, "the other model has the size that the default lacks"
    told = await (await stage.alice.click(menu, "Info")).reply()
    assert "model: me/other" in told.text
    for button in ("Re-roll", "Larger"):
        again = await stage.alice.click(await stage.menu(message, "More…"), button)
        job_id = await stage.submitted()
        assert request_of(stage, job_id).model == "me/other"
        await stage.finished(job_id, await again.reply(lambda m: has_button(m, "cancel")))


async def test_models_and_their_shapes_are_named_and_others_refused(stage: Stage) -> None:
    typed = await stage.alice.autocomplete(stage.channel, "imagine", "model", model="OTH")
    assert [choice["value"] for choice in (await typed.acked()).choices] == ["me/other"]
    typed = await stage.alice.autocomplete(
        stage.channel, "imagine", "aspect", aspect="square", model="me/other"
    )
    assert "512" in (await typed.acked()).choices[0]["name"]
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", model="gone")
    told = (await asked.reply()).text
    assert "“gone” is not one of the values of `model`: demo, me/other" in told
    assert stage.service.submitted.empty()
    told = (await (await stage.alice.slash(stage.channel, "about")).reply()).text
    assert "**demo** Apache" in told
    assert "**me/other** Apache" in told


async def test_a_picture_whose_model_is_gone_is_made_anew_by_the_default(stage: Stage) -> None:
    _, message = await stage.picture(model="me/other")
    services = stage.service.app.state.services
    services.models = Models([services.models.default])
    menu = await stage.menu(message, "More…")
    await (await stage.alice.click(menu, "Info")).reply()  # the bot looks at the models again
    await stage.alice.click(await stage.menu(message, "More…"), "Re-roll")
    assert request_of(stage, await stage.submitted()).model == "demo"
