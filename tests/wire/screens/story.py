"""What people do in the recording: one run of the real bot, looked at while it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.wire.bot_messages import job_of, opened_form
from tests.wire.bot_process import running_bot
from tests.wire.fake_discord.interactions import Interaction
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel
from tests.wire.screens.page import Seen, composer_html, message_html, modal_html, seen
from tests.wire.screens.studio import Pace, running_studio

PROMPT = "a large striped pink star on the right on a cyan background"
PROMPT_OF_FOUR = "a large dotted green square in the top left on a pink background"
TEMPLATE = "a large {colour} star in the center on a white background"
PROMPT_IN_GERMAN = "a large cyan ring in the center on a red background"
_HOLD_S = 0.4
"""Per step of the film; the demo model is too fast to be looked at."""
_LONG_S = 90.0
_MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


@dataclass
class Recording:
    """What was seen.

    Attributes:
        screens: parts of pages by name.
        film: pages' parts, each with how long it is shown in milliseconds.
    """

    screens: dict[str, list[str]] = field(default_factory=dict)
    film: list[tuple[list[str], int]] = field(default_factory=list)


@dataclass
class _Scene:
    fake: FakeDiscord
    channel: Channel
    alice: Person
    recording: Recording
    pace: Pace

    def keep(self, name: str, *shown: Message) -> None:
        """Keep what messages look like now."""
        locale = self.alice.user.locale
        self.recording.screens[name] = [message_html(seen(one, locale)) for one in shown]

    def keep_form(self, name: str, opened: Interaction) -> None:
        """Keep what the form that a press opened looks like."""
        assert opened.modal is not None
        self.recording.screens[name] = [modal_html(opened.modal)]

    async def until(self, message: Message, button: str) -> Message:
        """Wait until a message has a button, by its action."""
        await self.fake.wait_for(lambda: f"v1:{button}:" in str(message.components), _LONG_S)
        return message

    async def picture(self, prompt: str, **options: object) -> Message:
        """Have a picture made, and wait for it."""
        asked = await self.alice.slash(self.channel, "imagine", prompt=prompt, **options)
        return await self.until(await asked.reply(_is_live, _LONG_S), "edit")

    async def answer(self, command: str, **options: object) -> Message:
        """Use a command that answers at once."""
        return await (await self.alice.slash(self.channel, command, **options)).reply()


async def record(folder: Path) -> Recording:
    """Play the story and return what was seen."""
    recording = Recording()
    async with _scene(folder, recording) as scene:
        await _film(scene)
        await _waiting(scene)
        await _one(scene)
        await _four(scene)
        await _drafts(scene)
        await _series(scene)
        await _panels(scene)
        await _german(scene)
    return recording


@asynccontextmanager
async def _scene(folder: Path, recording: Recording) -> AsyncIterator[_Scene]:
    pace = Pace()
    async with FakeDiscord() as fake, running_studio(folder, pace) as service:
        guild = fake.guild("lab")
        channel = fake.channel(guild)
        env = {
            "CASCADE_URL": service.url,
            "CASCADE_API_KEY": service.make_key(),
            "BOT_HTTP_PORT": "0",
        }
        async with running_bot(fake, "bot", env=env) as bot:
            await bot.online()
            await fake.wait_for(lambda: bool(fake.commands), 60)
            alice = fake.person("alice", guild, _MANAGES)
            yield _Scene(fake, channel, alice, recording, pace)


async def _film(scene: _Scene) -> None:
    film = scene.recording.film
    words = PROMPT.split()
    for count in range(0, len(words) + 1, 2):
        film.append(([composer_html("imagine", prompt=" ".join(words[:count]))], 250))
    film[-1] = (film[-1][0], 900)
    scene.pace.hold_s = _HOLD_S
    asked = await scene.alice.slash(scene.channel, "imagine", prompt=PROMPT)
    first = await asked.reply(_is_live, _LONG_S)
    async for shown in _changes(scene, first):
        film.append(([message_html(shown), composer_html()], 900))
        if "Composing" in str(shown.components):
            scene.recording.screens["composing"] = [message_html(shown)]
    done = message_html(seen(first))
    film[-1] = (film[-1][0], 2500)
    vary = next(one["custom_id"] for one in first.buttons.values() if ":vary:" in str(one))
    film.append(([message_html(seen(first, pressed=vary)), composer_html()], 600))
    clicked = await scene.alice.click(first, vary)
    second = await clicked.reply(_is_live, _LONG_S)
    async for shown in _changes(scene, second):
        film.append(([done, message_html(shown), composer_html()], 900))
    film[-1] = (film[-1][0], 4000)


async def _changes(scene: _Scene, message: Message) -> AsyncIterator[Seen]:
    """Yield what a live message looks like, again after each change, until its picture is there."""
    seen_changes = 0
    while ":edit:" not in str(message.components) or seen_changes < len(message.history):
        await scene.fake.wait_for(lambda: len(message.history) > seen_changes, _LONG_S)  # noqa: B023
        seen_changes = len(message.history)
        yield seen(message)


async def _waiting(scene: _Scene) -> None:
    """A person waits behind another one."""
    ahead = await scene.alice.slash(scene.channel, "imagine", prompt=PROMPT, count=4)
    first = await ahead.reply(_is_live, _LONG_S)
    behind = await scene.alice.slash(scene.channel, "imagine", prompt="a purple ring on the left")
    second = await behind.reply(lambda m: "ahead" in m.text, timeout_s=_LONG_S)
    scene.keep("queued", second)
    scene.keep("queue", await scene.answer("queue"))
    scene.keep("status", await scene.answer("admin status"))
    await scene.alice.click(first, "Cancel")
    await scene.until(second, "edit")
    scene.keep("cancelled", first)
    scene.pace.hold_s = 0.0


async def _one(scene: _Scene) -> None:
    picture = await scene.picture(PROMPT)
    scene.keep("picture", picture)
    varied = await (await scene.alice.click(picture, "Vary details")).reply(_is_live, _LONG_S)
    scene.keep("varied", await scene.until(varied, "edit"))
    scene.keep_form("edit", await (await scene.alice.click(picture, "Edit")).acked())
    scene.keep("variants", await (await scene.alice.click(picture, "Vary…")).reply())
    menu = await (await scene.alice.click(picture, "More…")).reply()
    scene.keep("options", menu)
    scene.keep_form("series_form", await (await scene.alice.click(menu, "Series…")).acked())
    scene.keep("info", await (await scene.alice.click(menu, "Info")).reply())


async def _four(scene: _Scene) -> None:
    four = await scene.picture(PROMPT_OF_FOUR, count=4, negative="blurry, text")
    scene.keep("four", four)
    scene.keep("four_variants", await (await scene.alice.click(four, "Vary…")).reply())
    menu = await (await scene.alice.click(four, "More…")).reply()
    scene.keep("four_options", menu)
    form = await opened_form(lambda: scene.alice.click(menu, "Series…"))
    scene.keep_form("four_series_form", form)
    scene.keep_form("four_edit", await (await scene.alice.click(four, "Edit")).acked())
    form = await opened_form(lambda: scene.alice.menu(four, "Start from this picture"))
    scene.keep_form("start", form)
    submitted = await scene.alice.submit(form, prompt=PROMPT, strength="0.9", which="1")
    started = await submitted.reply(_is_live, _LONG_S)
    scene.keep("started", await scene.until(started, "edit"))


async def _drafts(scene: _Scene) -> None:
    asked = await scene.alice.slash(scene.channel, "draft", prompt=PROMPT_OF_FOUR)
    sheet = await scene.until(await asked.reply(_is_live, _LONG_S), "pick")
    scene.keep("drafts", sheet)
    picked = await (await scene.alice.click(sheet, "2")).reply(_is_live, _LONG_S)
    scene.keep("picked", await scene.until(picked, "edit"))


async def _series(scene: _Scene) -> None:
    variants = "red, orange, yellow, green, cyan, blue, purple, pink, gray, black"
    asked = await scene.answer("series", template="a large ring", variants=variants)
    scene.keep("series_error", asked)
    options = {"template": TEMPLATE, "variants": variants, "strength": "strong"}
    command = await scene.alice.slash(scene.channel, "series", **options)
    series = await scene.until(await command.reply(_is_live, _LONG_S), "options")
    scene.keep("series", series)
    job_id = job_of(series)
    chosen = await scene.alice.select(series, f"v1:choose:{job_id}", f"v1:choose:{job_id}:2")
    scene.keep("series_picture", await chosen.reply())
    scene.keep_form("series_edit", await (await scene.alice.click(series, "Edit")).acked())
    menu = await (await scene.alice.click(series, "More…")).reply()
    scene.keep("series_options", menu)
    scene.keep("series_info", await (await scene.alice.click(menu, "Info")).reply())
    await scene.alice.click(series, "Delete")
    scene.keep("series_delete", await scene.until(series, "erase"))


async def _panels(scene: _Scene) -> None:
    scene.keep("gallery", await scene.answer("gallery"))
    scene.keep("settings", await scene.answer("settings", aspect="wide", negative="text, frames"))
    await scene.answer("admin limits", images=2, under_way=3)
    words = {"add": "two words, cat"}
    scene.keep("rules", await scene.answer("admin blocklist", **words))
    asked = await scene.alice.slash(scene.channel, "imagine", prompt="a cat on a mat")
    scene.keep("error", await asked.reply(lambda m: "cat" in m.text))


async def _german(scene: _Scene) -> None:
    guild = scene.fake.guild("Labor", locale="de")
    scene.channel = scene.fake.channel(guild, "allgemein")
    scene.alice = scene.fake.person("anna", guild, locale="de")
    scene.keep("german", await scene.picture(PROMPT_IN_GERMAN))
    scene.keep("german_gallery", await scene.answer("gallery"))


def _is_live(message: Message) -> bool:
    return "v1:cancel:" in str(message.components)
