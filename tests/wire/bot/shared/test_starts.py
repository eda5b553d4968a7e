"""Pictures that start from another one: an attachment, or a picture of the bot."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from cascade_core.errors import Internal, NotReady
from cascade_core.request import GenerationRequest
from serve.checker import Refusal
from serve.gateway.dependencies import Services
from serve.moderation.moderator import Moderator
from serve.storage.blobs.converted_images import Conversions
from serve.storage.records import JobOwner
from tests.serve.served import serve_instead
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import has_button, opened_form
from tests.wire.fake_discord.interactions import Interaction
from tests.wire.fake_discord.messages import Message, Upload

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

MENU = "Start from this picture"


def photo(name: str = "photo.png", size: tuple[int, int] = (400, 200)) -> Upload:
    file = io.BytesIO()
    Image.new("RGB", size, (9, 99, 200)).save(file, "PNG")
    return Upload(name, file.getvalue())


async def made(stage: Stage, asked: Interaction) -> tuple[GenerationRequest, Message]:
    """Wait for the job of an interaction and let it succeed; returns its request and message."""
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: has_button(m, "cancel"))
    await stage.finished(job_id, message)
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request, message


def upload_size(stage: Stage, request: GenerationRequest) -> tuple[int, int]:
    assert request.upload_id is not None
    upload = stage.service.database.uploads.get(request.upload_id)
    assert upload is not None
    assert upload.owner.user == f"discord:{stage.alice.user.id}"
    return upload.width, upload.height


async def opened(stage: Stage, message: Message) -> Interaction:
    return await opened_form(lambda: stage.alice.menu(message, MENU))


async def test_imagine_starts_from_an_attached_picture(stage: Stage) -> None:
    asked = await stage.alice.slash(
        stage.channel, "imagine", prompt="a blue fox", image=photo(), strength="strong", count=2
    )
    request, message = await made(stage, asked)
    assert (request.kind, request.strength, request.n) == ("image_to_image", 0.9, 2)
    assert upload_size(stage, request) == (400, 200)
    assert request.width > request.height
    assert message.receiver is None
    told = await (await stage.alice.click(await stage.menu(message, "More…"), "Info")).reply()
    assert "Started from a picture, strength 0.9" in told.text
    assert "/imagine" not in told.text, "the command would need the picture"


async def test_a_shape_is_that_of_the_picture_unless_the_command_says_otherwise(
    stage: Stage,
) -> None:
    await (await stage.alice.slash(stage.channel, "settings", aspect="tall")).reply()
    line = {"prompt": "a fox", "image": photo()}
    wide, _ = await made(stage, await stage.alice.slash(stage.channel, "imagine", **line))
    line["aspect"] = "square"
    square, _ = await made(stage, await stage.alice.slash(stage.channel, "imagine", **line))
    assert wide.width > wide.height
    assert square.width == square.height


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"image": Upload("notes.txt", b"x")}, "must be a PNG, JPEG or WebP picture of at most 16"),
        ({"image": photo(size=(16, 400))}, "with sides from 32 to 16384 pixels"),
        ({"image": Upload("big.png", photo().content + bytes(17 << 20))}, "at most 16 MiB"),
        ({"image": photo(), "strength": "weak"}, "“weak” is no strength"),
        ({"image": photo(), "strength": "1.5"}, "one of: Subtle, Strong"),
        ({"strength": "0.5"}, "Please add one with the option `image`"),
    ],
)
async def test_what_cannot_be_a_start_is_refused_before_it_is_fetched(
    stage: Stage, options: dict[str, object], told: str
) -> None:
    before = len(stage.fake.traffic.downloads)
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", **options)
    answer = await asked.reply()
    assert told in answer.text
    assert answer.receiver == stage.alice.user
    assert len(stage.fake.traffic.downloads) == before
    assert stage.service.submitted.empty()


async def test_a_damaged_picture_is_refused_in_plain_words_to_the_person_alone(
    stage: Stage,
) -> None:
    damaged = Upload("photo.png", photo().content[:60])
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=damaged)
    answer = await asked.reply(lambda m: "cannot start from this file" in m.text)
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


class _NoPictures:
    def check_prompt(self, _request: GenerationRequest, _owner: JobOwner) -> Refusal | None:
        return None

    def check_upload(self, _picture: bytes, _owner: JobOwner) -> Refusal | None:
        return Refusal("faces", "prompt")


@pytest.fixture
def refusing(stage: Stage) -> Iterator[None]:
    services = stage.service.app.state.services
    usual = services.moderator
    services.moderator = Moderator([_NoPictures()], lambda *_: None)
    yield
    services.moderator = usual


@pytest.mark.usefixtures("refusing")
async def test_a_picture_that_a_checker_refuses_is_told_of_in_plain_words(stage: Stage) -> None:
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=photo())
    answer = await asked.reply(lambda m: m.receiver is not None)
    assert answer.text == "The rules of this picture service do not allow this picture."
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


@pytest.fixture
def services(stage: Stage) -> Iterator[Services]:
    """The gateway's own objects, which a test may exchange."""
    services: Services = stage.service.app.state.services
    usual = services.settings, services.models, services.upload_decoding
    yield services
    services.settings, services.models, services.upload_decoding = usual


async def test_a_person_without_room_for_another_picture_is_told_so(
    stage: Stage, services: Services
) -> None:
    services.settings = services.settings.model_copy(update={"upload_quota_mb": 1})
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    large = Upload("photo.png", file.getvalue())
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=large)
    answer = await asked.reply(lambda m: "no space left for pictures" in m.text)
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


class _Failing(Conversions):
    """Fails at the first upload."""

    def __init__(self, error: Exception) -> None:
        super().__init__(threads=1)
        self._errors = [error]

    def check_room(self) -> None:
        while self._errors:
            raise self._errors.pop()


async def test_an_upload_that_the_service_has_no_room_for_at_first_is_sent_again(
    stage: Stage, services: Services
) -> None:
    services.upload_decoding = _Failing(NotReady("too many pictures are being converted"))
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=photo())
    request, _ = await made(stage, asked)
    assert upload_size(stage, request) == (400, 200)


async def test_an_upload_at_which_the_service_fails_is_told_of(
    stage: Stage, services: Services
) -> None:
    services.upload_decoding = _Failing(Internal("a fault of the service"))
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=photo())
    answer = await asked.reply(lambda m: "went wrong on our side" in m.text)
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


async def test_a_model_that_takes_no_uploads_starts_from_its_own_pictures_alone(
    stage: Stage, services: Services
) -> None:
    _, message = await stage.picture()
    serve_instead(services, picture_encoder=None)
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=photo())
    await asked.reply(lambda m: "from its own pictures only" in m.text)
    assert stage.service.submitted.empty()
    await stage.alice.submit(await opened(stage, message), prompt="a fox")
    await stage.submitted()


async def test_a_picture_that_discord_does_not_give_is_told_of(stage: Stage) -> None:
    message = await stage.alice.say(stage.channel, "look", photo())
    form = await opened(stage, message)
    stage.fake.messages.files.clear()
    asked = await stage.alice.submit(form, prompt="a fox")
    # A slow machine shows the request as waiting first.
    await asked.reply(lambda m: "no longer available" in m.text)
    assert stage.service.submitted.empty()


async def test_the_menu_starts_from_the_picture_in_a_persons_message(stage: Stage) -> None:
    bob = stage.fake.person("bob", stage.channel.guild)
    message = await bob.say(stage.channel, "look at this", photo())
    form = await opened(stage, message)
    assert form.prefilled == {"Prompt": "", "Strength": "Subtle"}
    submitted = await stage.alice.submit(form, prompt="a blue fox", strength="0,8")
    request, shown = await made(stage, submitted)
    assert (request.kind, request.prompt, request.strength) == ("image_to_image", "a blue fox", 0.8)
    assert upload_size(stage, request) == (400, 200)
    assert stage.channel.guild is not None
    link = f"https://discord.com/channels/{stage.channel.guild.id}/{stage.channel.id}/{message.id}"
    assert f"by <@{stage.alice.user.id}> · started from [this]({link})" in shown.text


async def test_the_menu_starts_from_a_picture_of_the_bot_without_an_upload(stage: Stage) -> None:
    job_id, message = await stage.picture()
    before = len(stage.fake.traffic.downloads)
    form = await opened(stage, message)
    request, shown = await made(stage, await stage.alice.submit(form, prompt="a blue fox"))
    [image] = stage.service.fake_jobs.images(job_id)
    assert (request.kind, request.image, request.latent_id) == (
        "image_to_image",
        image.id,
        image.latent_id,
    )
    assert request.strength == 0.7
    assert len(stage.fake.traffic.downloads) == before
    assert list(shown.buttons) == ["Vary details", "Vary…", "Edit", "More…", "Delete"]


async def test_with_several_pictures_the_form_asks_which_one(stage: Stage) -> None:
    job_id, message = await stage.picture(count=4)
    form = await opened(stage, message)
    assert list(form.prefilled) == ["Which picture?", "Prompt", "Strength"]
    submitted = await stage.alice.submit(form, prompt="a blue fox", which="2")
    request, _ = await made(stage, submitted)
    assert request.image == stage.service.fake_jobs.images(job_id)[2].id
    both = await stage.alice.say(stage.channel, "two", photo(), photo("b.png", (200, 400)))
    form = await opened(stage, both)
    request, _ = await made(stage, await stage.alice.submit(form, prompt="a fox", which="1"))
    assert upload_size(stage, request) == (200, 400)


async def test_what_is_private_or_hidden_stays_so_from_picture_to_picture(stage: Stage) -> None:
    _, message = await stage.picture(private=True, spoiler=True)
    _, shown = await made(
        stage, await stage.alice.submit(await opened(stage, message), prompt="a fox")
    )
    assert shown.receiver == stage.alice.user
    assert "'spoiler': True" in str(shown.components)
    assert "https://" not in shown.text
    hidden = await stage.alice.say(stage.channel, "careful", photo("SPOILER_photo.png"))
    _, shown = await made(
        stage, await stage.alice.submit(await opened(stage, hidden), prompt="a fox")
    )
    assert "'spoiler': True" in str(shown.components)


async def test_messages_without_a_picture_to_start_from_say_so(stage: Stage) -> None:
    _, live = await stage.imagine()
    _, others = await stage.picture("another fox")
    bob = stage.fake.person("bob", stage.channel.guild)
    for person, message, told in (
        (stage.alice, await stage.alice.say(stage.channel, "hello"), "no picture to start from"),
        (stage.alice, live, "no picture to start from"),
        (bob, others, "belongs to another person"),
    ):
        answer = await (await person.menu(message, MENU)).reply()
        assert told in answer.text
        assert answer.receiver == person.user


async def test_a_servers_rules_hold_for_the_form(stage: Stage) -> None:
    message = await stage.alice.say(stage.channel, "look", photo())
    form = await opened(stage, message)
    before = len(stage.fake.traffic.downloads)
    for values, told in (
        ({"prompt": "a fox --ar 16:9"}, "would draw `--ar` into"),
        ({"prompt": "a fox", "strength": "weak"}, "“weak” is no strength"),
    ):
        answer = await (await stage.alice.submit(form, **values)).reply()
        assert told in answer.text
    assert len(stage.fake.traffic.downloads) == before
    assert stage.service.submitted.empty()


async def test_re_roll_and_edit_start_from_the_same_picture_again(stage: Stage) -> None:
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", image=photo(), seed=7)
    first, message = await made(stage, asked)
    menu = await stage.menu(message, "More…")
    again, _ = await made(stage, await stage.alice.click(menu, "Re-roll"))
    form = await (await stage.alice.click(message, "Edit")).acked()
    assert form.prefilled["Keep the composition"] is False
    edited, _ = await made(stage, await stage.alice.submit(form, prompt="a cat"))
    assert again.seed != first.seed == edited.seed
    assert edited.prompt == "a cat"
    assert {again.image, edited.image} == {first.image}
    assert {again.strength, edited.strength} == {first.strength}
