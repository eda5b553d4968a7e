"""``/imagine`` and ``/draft``: make pictures from a prompt, or drafts to choose from."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.interactions.attachments import check_picture
from bot.interactions.responder import Interaction, Responder
from bot.interactions.submission import Submission
from bot.policy import job_request
from bot.policy.aspects import Aspect, aspect_name, aspects_to_choose, parse_aspect, size_of
from bot.policy.job_request import MAX_IMAGES, JobRequest
from bot.policy.prompt_parameters import check_parameters
from bot.policy.strength import STRENGTH_WORDS, parse_strength, strength_name
from bot.policy.user_defaults import UserDefaults
from bot.text.catalog import Translator
from bot.text.error_messages import UserError
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from cascade_core.operations import fields
from cascade_core.operations.fields import (
    MAX_GUIDANCE_SCALE,
    MAX_SEED,
    MAX_STEPS,
    MIN_GUIDANCE_SCALE,
    MIN_IMAGES,
    MIN_SEED,
    MIN_STEPS,
)
from cascade_core.operations.registry import IMAGE_TO_IMAGE, SERIES

START_OPTIONS = ("image", "strength")
"""Options of ``/imagine`` for models that can start from a picture."""
MODEL_COMMANDS = ("imagine", "draft", SERIES.name)
"""Commands with the option ``model`` for services with several models."""
MAX_MODEL_CHARS = 256
MAX_STRENGTH_CHARS = 20
_MAX_CHOICES, _MAX_CHOICE_CHARS = 25, 100


def aspect_choices(
    submission: Submission, interaction: Interaction, current: str
) -> list[Choice[str]]:
    """Return the shapes whose names contain the typed text, in the person's language."""
    translate = submission.responder_for(interaction).translate
    model = submission.known_model(interaction.namespace.model)
    named = {aspect: aspect_name(translate, aspect, model) for aspect in aspects_to_choose(model)}
    wanted = current.casefold()
    return [
        Choice(name=name, value=aspect)
        for aspect, name in named.items()
        if wanted in name.casefold() or wanted == aspect
    ]


def chosen_aspect(responder: Responder, given: str | None) -> Aspect | None:
    """Return the shape given in the option ``aspect``.

    Raises:
        UserError: there is no such shape.
    """
    name = responder.translate.find("command.imagine.aspect.name") or "aspect"
    return parse_aspect(responder.translate, name, given)


async def chosen_size(
    submission: Submission, aspect: Aspect | None, model: str | None
) -> tuple[int | None, int | None]:
    """Return the (width, height) in pixels of a shape; without one, the model's own."""
    if aspect is None:
        return None, None
    return size_of(aspect, await submission.model(model))


async def check_chosen_model(
    submission: Submission, responder: Responder, given: str | None
) -> None:
    """Check the option ``model``.

    Raises:
        UserError: the service has no such model.
    """
    name = responder.translate.find("command.imagine.model.name") or "model"
    await submission.check_model(name, given)


def model_choices(submission: Submission, current: str) -> list[Choice[str]]:
    """Return the models whose ids contain the typed text, the default first."""
    wanted = current.casefold()
    ids = [model.id for model in submission.known_models() if wanted in model.id.casefold()]
    fitting = [name for name in ids if len(name) <= _MAX_CHOICE_CHARS]
    return [Choice(name=name, value=name) for name in fitting[:_MAX_CHOICES]]


def prompt_choices(submission: Submission, model_id: str | None, current: str) -> list[Choice[str]]:
    """Return the prompts that suit a model, or the default, and contain the typed text."""
    model = submission.known_model(model_id)
    wanted = current.casefold()
    found = [text for text in (model.suggestions if model else ()) if wanted in text.casefold()]
    fitting = [text for text in found if len(text) <= _MAX_CHOICE_CHARS]
    return [Choice(name=text, value=text) for text in fitting[:_MAX_CHOICES]]


def strength_choices(
    submission: Submission, interaction: Interaction, current: str
) -> list[Choice[str]]:
    """Return the words for a strength that contain the typed text, in the person's language."""
    translate = submission.responder_for(interaction).translate
    named = {word: strength_name(translate, word) for word in STRENGTH_WORDS}
    wanted = current.casefold()
    return [Choice(name=name, value=w) for w, name in named.items() if wanted in name.casefold()]


def starting_values(
    translate: Translator, image: discord.Attachment | None, strength: str | None
) -> dict[str, Any]:
    """Return the values of a request that starts from an attached picture; empty without one.

    Raises:
        UserError: the service would not take the picture, or a value is not valid.
    """
    departs = parse_strength(translate, strength)
    if image is None:
        if departs is not None:
            raise UserError.because("strength_alone")
        return {}
    check_picture(image)
    return {"operation": IMAGE_TO_IMAGE, "attachment_url": image.url, "strength": departs}


class Imagine(commands.Cog):
    """The command that makes pictures from words.

    Args:
        submission: submits the requests.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    @app_commands.command(description="Make a picture from words")
    @app_commands.describe(
        prompt="What the picture should show",
        image="A picture to start from",
        strength="How far to depart from that picture: 0 to 1, subtle or strong",
        aspect="Its shape",
        model="The model that makes it",
        negative="What it should not show",
        seed="The same seed makes the same picture",
        steps="More take longer and may add detail",
        guidance="How closely to follow the prompt",
        count="How many pictures",
        spoiler="Hide it behind a spoiler until it is clicked",
        private="Show it to you alone",
    )
    async def imagine(
        self,
        interaction: Interaction,
        prompt: Range[str, 1, MAX_PROMPT_CHARS],
        image: discord.Attachment | None = None,
        strength: Range[str, 1, MAX_STRENGTH_CHARS] | None = None,
        aspect: str | None = None,
        model: Range[str, 1, MAX_MODEL_CHARS] | None = None,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        seed: Range[int, MIN_SEED, MAX_SEED] | None = None,
        steps: Range[int, MIN_STEPS, MAX_STEPS] | None = None,
        guidance: Range[float, float(MIN_GUIDANCE_SCALE), MAX_GUIDANCE_SCALE] | None = None,
        count: Range[int, MIN_IMAGES, MAX_IMAGES] = 1,
        spoiler: bool = False,
        private: bool | None = None,
    ) -> None:
        """Submit a request for pictures, which may start from an attached one."""
        responder = self._submission.responder_for(interaction)
        check_parameters(responder.translate, prompt, negative or "")
        chosen = chosen_aspect(responder, aspect)
        start = starting_values(responder.translate, image, strength)

        async def make(defaults: UserDefaults) -> JobRequest:
            await check_chosen_model(self._submission, responder, model)
            if image is not None:
                await self._submission.check_starts(is_upload=True, model=model)
            # A picture has its own shape.
            shape = chosen or (None if image else defaults.aspect)
            width, height = await chosen_size(self._submission, shape, model)
            return JobRequest(
                **start,
                model=model,
                prompt=job_request.check_prompt(prompt),
                negative_prompt=one_line(defaults.negative if negative is None else negative),
                width=width,
                height=height,
                n=count,
                seed=seed,
                steps=steps,
                guidance_scale=guidance,
                spoiler=spoiler or (image is not None and image.is_spoiler()),
                private=defaults.private if private is None else private,
                preview=defaults.preview,
            )

        await self._submission.submit(responder, make)

    @app_commands.command(description="Draft compositions from words, and choose which to finish")
    @app_commands.describe(
        prompt="What the picture should show",
        aspect="Its shape",
        model="The model that makes them",
        negative="What it should not show",
        seed="The same seed makes the same drafts",
        count="How many drafts",
        spoiler="Hide them behind a spoiler until they are clicked",
        private="Show them to you alone",
    )
    async def draft(
        self,
        interaction: Interaction,
        prompt: Range[str, 1, MAX_PROMPT_CHARS],
        aspect: str | None = None,
        model: Range[str, 1, MAX_MODEL_CHARS] | None = None,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        seed: Range[int, MIN_SEED, MAX_SEED] | None = None,
        count: Range[int, MIN_IMAGES, fields.MAX_IMAGES] = MAX_IMAGES,
        spoiler: bool = False,
        private: bool | None = None,
    ) -> None:
        """Submit a request for drafts."""
        responder = self._submission.responder_for(interaction)
        check_parameters(responder.translate, prompt, negative or "")
        chosen = chosen_aspect(responder, aspect)

        async def make(defaults: UserDefaults) -> JobRequest:
            await check_chosen_model(self._submission, responder, model)
            width, height = await chosen_size(self._submission, chosen or defaults.aspect, model)
            kept = (await self._submission.model(model)).kept_stage
            if kept is None:
                raise UserError.because("no_drafts")
            return JobRequest(
                model=model,
                prompt=job_request.check_prompt(prompt),
                negative_prompt=one_line(defaults.negative if negative is None else negative),
                width=width,
                height=height,
                n=count,
                seed=seed,
                stop_after=kept.name,
                spoiler=spoiler,
                private=defaults.private if private is None else private,
                preview=defaults.preview,
            )

        await self._submission.submit(responder, make)

    @draft.autocomplete("prompt")
    @imagine.autocomplete("prompt")
    async def suggest(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest prompts that suit the model; any other prompt is accepted, too."""
        return prompt_choices(self._submission, interaction.namespace.model, current)

    @draft.autocomplete("aspect")
    @imagine.autocomplete("aspect")
    async def shapes(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest shapes with the sizes that the model makes."""
        return aspect_choices(self._submission, interaction, current)

    @draft.autocomplete("model")
    @imagine.autocomplete("model")
    async def models(self, _interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest the service's models."""
        return model_choices(self._submission, current)

    @imagine.autocomplete("strength")
    async def strengths(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest the words for a strength; a number is accepted, too."""
        return strength_choices(self._submission, interaction, current)
