"""``/series``: several pictures of one composition, from a template."""

from __future__ import annotations

from dataclasses import replace

from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.commands.imagine import (
    MAX_MODEL_CHARS,
    MAX_STRENGTH_CHARS,
    aspect_choices,
    check_chosen_model,
    chosen_aspect,
    chosen_size,
    model_choices,
    strength_choices,
)
from bot.interactions.lookup import PictureLookup
from bot.interactions.responder import Interaction
from bot.interactions.submission import Submission
from bot.jobs.delivery_target import presentation_of
from bot.policy.job_request import EditedValues, JobRequest, find_image
from bot.policy.series import MAX_VARIANTS_CHARS, typed_request, with_hero
from bot.policy.user_defaults import UserDefaults
from bot.text.error_messages import UserError
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from cascade_core.operations.fields import MAX_SEED, MIN_SEED
from cascade_core.operations.registry import SERIES


class SeriesCommand(commands.Cog):
    """The command that makes a series.

    Args:
        submission: submits the requests.
        lookup: finds the hero, the picture that gives a series its composition.
    """

    def __init__(self, submission: Submission, lookup: PictureLookup) -> None:
        self._submission = submission
        self._lookup = lookup

    @app_commands.command(description="Make up to ten pictures of one composition")
    @app_commands.describe(
        template="What all pictures show, in braces what changes: a {colour} mug on a table",
        variants="The pictures: red, blue, green; of several variables: red / oak, blue / pine",
        hero="Whose composition to keep: the id of a picture of yours, see Info",
        strength="How far to depart from it: 0 to 1, subtle or strong",
        aspect="Their shape",
        model="The model that makes them",
        negative="What they should not show",
        seed="The same seed makes the same pictures",
        spoiler="Hide them behind a spoiler until they are clicked",
        private="Show them to you alone",
    )
    async def series(
        self,
        interaction: Interaction,
        template: Range[str, 1, MAX_PROMPT_CHARS],
        variants: Range[str, 1, MAX_VARIANTS_CHARS],
        hero: Range[str, 1, 64] | None = None,
        strength: Range[str, 1, MAX_STRENGTH_CHARS] | None = None,
        aspect: str | None = None,
        model: Range[str, 1, MAX_MODEL_CHARS] | None = None,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        seed: Range[int, MIN_SEED, MAX_SEED] | None = None,
        spoiler: bool = False,
        private: bool | None = None,
    ) -> None:
        """Submit a request for a series, which may keep the composition of a stored picture."""
        responder = self._submission.responder_for(interaction)
        typed = EditedValues(
            prompt=template,
            negative_prompt=negative or "",
            variants=variants,
            strength=strength or "",
        )
        given = typed_request(responder.translate, typed)
        chosen = chosen_aspect(responder, aspect)
        if hero is not None and chosen is not None:
            raise UserError.because("hero_shape")

        async def make(defaults: UserDefaults) -> JobRequest:
            await check_chosen_model(self._submission, responder, model)
            await self._submission.check_offers(SERIES.name, "no_series", model)
            request = replace(
                given,
                model=model,
                seed=seed,
                spoiler=spoiler,
                private=defaults.private if private is None else private,
                preview=defaults.preview,
            )
            if hero is not None:
                request = await self._from_hero(request, hero, responder.user)
            else:
                width, height = await chosen_size(
                    self._submission, chosen or defaults.aspect, model
                )
                request = replace(
                    request, width=width, height=height, negative_prompt=defaults.negative
                )
            if negative is not None:
                request = replace(request, negative_prompt=one_line(negative))
            return request

        await self._submission.submit(responder, make)

    @series.autocomplete("aspect")
    async def shapes(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest shapes with the sizes that the model makes."""
        return aspect_choices(self._submission, interaction, current)

    @series.autocomplete("model")
    async def models(self, _interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest the service's models."""
        return model_choices(self._submission, current)

    @series.autocomplete("strength")
    async def strengths(self, interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest the words for a strength; a number is accepted, too."""
        return strength_choices(self._submission, interaction, current)

    async def _from_hero(self, request: JobRequest, hero: str, user: str) -> JobRequest:
        """Return the request of a series that keeps the composition of a person's picture.

        Raises:
            UserError: the picture is gone.
            NotFound: the person has no such picture or job.
        """
        job = await self._lookup.find(hero, user)
        named = next((image for image in job.images if image.id == hero.strip()), None)
        image = named or find_image(job, None)
        return replace(
            with_hero(request, job, image),
            negative_prompt=job.request.negative_prompt,
            spoiler=request.spoiler or presentation_of(job.client_state).spoiler,
        )
