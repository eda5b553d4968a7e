"""Commands and menus for pictures: ``/show``, ``/gallery``, ``/approved``, ``/queue`` and so on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.commands.imagine import aspect_choices, chosen_aspect
from bot.interactions.button_actions import ButtonActions
from bot.interactions.lookup import PictureLookup
from bot.interactions.responder import Interaction
from bot.interactions.submission import Submission
from bot.policy import job_request
from bot.policy.job_request import JobRequest
from bot.policy.prompt_parameters import check_parameters
from bot.service.models import Job
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from bot.views import info_messages

START_MENU = "Start from this picture"
_NOTHING = ("-", "–", "—")  # noqa: RUF001


class Pictures(commands.Cog):
    """The commands about existing pictures and about a person's settings.

    Args:
        tree: takes the message menus.
        submission: has the stored defaults, and makes responders.
        lookup: finds jobs and pictures.
        actions: varies pictures.
    """

    def __init__(
        self,
        tree: app_commands.CommandTree[Any],
        submission: Submission,
        lookup: PictureLookup,
        actions: ButtonActions,
    ) -> None:
        self._tree = tree
        self._submission = submission
        self._lookup = lookup
        self._actions = actions
        self._menus = (
            app_commands.ContextMenu(name="Vary details", callback=self.vary_details),
            app_commands.ContextMenu(name="Image info", callback=self.image_info),
            app_commands.ContextMenu(name=START_MENU, callback=self.start_from_picture),
        )

    async def cog_load(self) -> None:
        """Add the message menus, which cannot be declared in a class."""
        for menu in self._menus:
            self._tree.add_command(menu)

    async def cog_unload(self) -> None:
        """Remove the message menus."""
        for menu in self._menus:
            self._tree.remove_command(menu.name, type=menu.type)

    @app_commands.command(description="Bring up one of your pictures with its buttons")
    @app_commands.describe(
        id="The id of a picture or job, see Info", private="Show it to you alone"
    )
    async def show(
        self,
        interaction: Interaction,
        id: Range[str, 1, 64],  # noqa: A002 - the option's visible name
        private: bool | None = None,
    ) -> None:
        """Show a picture or drafts again, publicly unless the person prefers private pictures."""
        responder = self._submission.responder_for(interaction)

        async def find() -> tuple[Job, bool]:
            prefers_private = (await self._submission.user_defaults.get(responder.user)).private
            job = await self._lookup.find(id, responder.user)
            is_private = prefers_private if private is None else private
            if not is_private:
                shown = job.request
                request = JobRequest(
                    prompt=shown.prompt,
                    negative_prompt=shown.negative_prompt,
                    variants=shown.variants,
                )
                await self._submission.check_rules(responder, request)
            if not job.has_drafts_only:
                job_request.find_image(job, None)
            return job, is_private

        job, is_private = await responder.defer_when_ready(find(), lambda found: found[1])
        layout = await self._lookup.picture(job, responder)
        if responder.is_undecided and not is_private:
            await responder.switch_to_public(layout)
        else:
            await responder.send(layout)

    @app_commands.command(description="Look through your pictures")
    async def gallery(self, interaction: Interaction) -> None:
        """Show the first page of the person's pictures."""
        responder = self._submission.responder_for(interaction)
        await responder.defer(private=True)
        await responder.send(await self._lookup.gallery_page(responder, 0))

    @app_commands.command(description="Look through the approved pictures of this server")
    @app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    async def approved(self, interaction: Interaction) -> None:
        """Show the first page of the server's approved pictures."""
        await self._actions.approvals.approved(self._submission.responder_for(interaction))

    @app_commands.command(description="See your pictures in progress, and cancel them")
    async def queue(self, interaction: Interaction) -> None:
        """Show the person's open jobs."""
        responder = self._submission.responder_for(interaction)
        await responder.defer(private=True)
        await responder.send(await self._lookup.queue(responder))

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
        """Change the person's defaults, and show them."""
        words = None if negative is None else one_line(negative)
        if words in _NOTHING:
            words = ""
        responder = self._submission.responder_for(interaction)
        check_parameters(responder.translate, words or "")
        shape = chosen_aspect(responder, aspect)
        await responder.defer(private=True)
        given = {"aspect": shape, "negative": words, "private": private, "preview": preview}
        chosen: dict[str, Any] = {name: like for name, like in given.items() if like is not None}
        after = await self._submission.user_defaults.change(
            responder.user, lambda defaults: replace(defaults, **chosen)
        )
        await responder.send(
            info_messages.settings(responder.translate, after, self._submission.known_model())
        )

    @settings.autocomplete("aspect")
    async def shapes(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest shapes with the sizes that the model makes."""
        return aspect_choices(self._submission, interaction, current)

    @app_commands.command(description="Which models make the pictures, and under which licences")
    async def about(self, interaction: Interaction) -> None:
        """Show the service's models with their licences."""
        responder = self._submission.responder_for(interaction)
        await responder.defer(private=True)
        models = await self._submission.models()
        await responder.send(info_messages.about(responder.translate, models))

    async def vary_details(self, interaction: Interaction, message: discord.Message) -> None:
        """Vary the picture in a message."""
        responder = self._submission.responder_for(interaction)
        await self._actions.remakes.vary_in_message(responder, message)

    async def start_from_picture(self, interaction: Interaction, message: discord.Message) -> None:
        """Open the form for a picture that starts from the one in a message."""
        responder = self._submission.responder_for(interaction)
        await self._actions.starts.open_form(responder, message)

    async def image_info(self, interaction: Interaction, message: discord.Message) -> None:
        """Show how the picture in a message was made."""
        responder = self._submission.responder_for(interaction)
        await responder.defer(private=True)
        job, _ = await self._lookup.find_in_message(message, responder)
        await responder.send(await self._lookup.info(job.id, responder))
