"""Pictures that are there: ``/show``, ``/gallery``, ``/queue``, ``/settings``, message menus."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.commands.imagine import aspect_choices, chosen_aspect
from bot.interactions.button_actions import Actions
from bot.interactions.lookup import Library
from bot.interactions.responder import Interaction
from bot.interactions.submission import Desk
from bot.policy import job_request as orders
from bot.policy.job_request import Order
from bot.policy.prompt_parameters import check_parameters
from bot.service.models import Job
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from bot.views import panels

_NOTHING = ("-", "–", "—")  # noqa: RUF001


class Pictures(commands.Cog):
    """Brings up pictures, and what belongs to somebody.

    Args:
        tree: where the message menus go.
        desk: knows people and answers.
        library: knows pictures.
        actions: varies them.
    """

    def __init__(
        self,
        tree: app_commands.CommandTree[Any],
        desk: Desk,
        library: Library,
        actions: Actions,
    ) -> None:
        self._tree = tree
        self._desk = desk
        self._library = library
        self._actions = actions
        self._menus = (
            app_commands.ContextMenu(name="Vary details", callback=self.vary_details),
            app_commands.ContextMenu(name="Image info", callback=self.image_info),
        )

    async def cog_load(self) -> None:
        """Add the message menus, which cannot be declared in a class."""
        for menu in self._menus:
            self._tree.add_command(menu)

    async def cog_unload(self) -> None:
        """Take them away."""
        for menu in self._menus:
            self._tree.remove_command(menu.name, type=menu.type)

    @app_commands.command(description="Bring up one of your pictures with its buttons")
    @app_commands.describe(
        id="The id of a picture or job, see Info", private="Show it to you alone"
    )
    async def show(
        self,
        interaction: Interaction,
        id: Range[str, 1, 64],  # noqa: A002 - what people see
        private: bool | None = None,
    ) -> None:
        """Show a picture again, to everybody unless they like it private."""
        talk = self._desk.talk(interaction)

        async def find() -> tuple[Job, bool]:
            likes_private = (await self._desk.people.of(talk.user)).private
            job = await self._library.find(id, talk.user)
            is_private = likes_private if private is None else private
            if not is_private:
                shown = job.request
                order = Order(prompt=shown.prompt, negative_prompt=shown.negative_prompt)
                await self._desk.check_place(talk, order)
            orders.find_image(job, None)
            return job, is_private

        job, is_private = await talk.hold_when_ready(find(), lambda found: found[1])
        layout = await self._library.picture(job, talk)
        if talk.is_undecided and not is_private:
            await talk.go_public(layout)
        else:
            await talk.say(layout)

    @app_commands.command(description="Look through your pictures")
    async def gallery(self, interaction: Interaction) -> None:
        """Show the first page."""
        talk = self._desk.talk(interaction)
        await talk.hold(private=True)
        await talk.say(await self._library.page(talk, 0))

    @app_commands.command(description="See what is under way, and cancel it")
    async def queue(self, interaction: Interaction) -> None:
        """Show one's open jobs."""
        talk = self._desk.talk(interaction)
        await talk.hold(private=True)
        await talk.say(await self._library.queue(talk))

    @app_commands.command(description="What your pictures are like unless you say otherwise")
    @app_commands.describe(
        aspect="Their shape",
        negative="What they should not show; a dash clears it",
        private="Show them to you alone",
        preview="Show previews while they are made",
    )
    async def settings(
        self,
        interaction: Interaction,
        aspect: str | None = None,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        private: bool | None = None,
        preview: bool | None = None,
    ) -> None:
        """Change one's defaults, and show them."""
        words = None if negative is None else one_line(negative)
        if words in _NOTHING:
            words = ""
        talk = self._desk.talk(interaction)
        check_parameters(talk.voice, words or "")
        shape = chosen_aspect(talk, aspect)
        await talk.hold(private=True)
        given = {"aspect": shape, "negative": words, "private": private, "preview": preview}
        chosen: dict[str, Any] = {name: like for name, like in given.items() if like is not None}
        after = await self._desk.people.change(
            talk.user, lambda defaults: replace(defaults, **chosen)
        )
        await talk.say(panels.settings(talk.voice, after, self._desk.known_model()))

    @settings.autocomplete("aspect")
    async def shapes(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Offer the shapes with the sizes that the model makes."""
        return aspect_choices(self._desk, interaction, current)

    async def vary_details(self, interaction: Interaction, message: discord.Message) -> None:
        """Vary the picture in a message."""
        talk = self._desk.talk(interaction)
        await self._actions.vary_in(talk, message)

    async def image_info(self, interaction: Interaction, message: discord.Message) -> None:
        """Tell about the picture in a message."""
        talk = self._desk.talk(interaction)
        await talk.hold(private=True)
        job, _ = await self._library.find_in(message, talk)
        await talk.say(await self._library.info(job.id, talk))
