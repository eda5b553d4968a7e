"""``/imagine``."""

from __future__ import annotations

from typing import Any

from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot import orders
from bot.desk import Desk
from bot.markdown import MAX_PROMPT_CHARS, one_line
from bot.orders import ASPECTS, MAX_IMAGES, Order
from bot.parameters import check_parameters
from bot.rules import Defaults
from bot.talk import Interaction
from cascade_core.request import MAX_GUIDANCE_SCALE, MAX_SEED, MAX_STEPS

ASPECT_CHOICES = [Choice(name=aspect, value=aspect) for aspect in ASPECTS]
_MAX_CHOICES, _MAX_CHOICE_CHARS = 25, 100


class Imagine(commands.Cog):
    """Makes pictures from words.

    Args:
        desk: takes the orders.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @app_commands.command(description="Make a picture from words")
    @app_commands.describe(
        prompt="What the picture should show",
        aspect="Its shape",
        negative="What it should not show",
        seed="The same seed makes the same picture",
        steps="More take longer and may add detail",
        guidance="How closely to follow the prompt",
        count="How many pictures",
        spoiler="Hide it until somebody looks",
        private="Show it to you alone",
    )
    @app_commands.choices(aspect=ASPECT_CHOICES)
    async def imagine(
        self,
        interaction: Interaction,
        prompt: Range[str, 1, MAX_PROMPT_CHARS],
        aspect: str | None = None,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        seed: Range[int, 0, MAX_SEED] | None = None,
        steps: Range[int, 1, MAX_STEPS] | None = None,
        guidance: Range[float, 0.0, MAX_GUIDANCE_SCALE] | None = None,
        count: Range[int, 1, MAX_IMAGES] = 1,
        spoiler: bool = False,
        private: bool | None = None,
    ) -> None:
        """Order a picture."""
        talk = self._desk.talk(interaction)
        check_parameters(talk.voice, prompt, negative or "")

        async def make(defaults: Defaults) -> Order:
            width, height = await self._size(aspect or defaults.aspect)
            return Order(
                prompt=orders.check_prompt(prompt),
                negative_prompt=one_line(defaults.negative if negative is None else negative),
                width=width,
                height=height,
                n=count,
                seed=seed,
                steps=steps,
                guidance_scale=guidance,
                spoiler=spoiler,
                private=defaults.private if private is None else private,
                preview=defaults.preview,
            )

        await self._desk.place(talk, make)

    @imagine.autocomplete("prompt")
    async def suggest(self, _interaction: Interaction, current: str) -> list[Choice[str]]:
        """Offer prompts that suit the model; whatever is typed goes, too."""
        model = self._desk.known_model()
        wanted = current.casefold()
        found = [text for text in (model.suggestions if model else ()) if wanted in text.casefold()]
        fitting = [text for text in found if len(text) <= _MAX_CHOICE_CHARS]
        return [Choice(name=text, value=text) for text in fitting[:_MAX_CHOICES]]

    async def _size(self, aspect: Any) -> tuple[int | None, int | None]:
        if aspect is None:
            return None, None
        return orders.size_of(aspect, await self._desk.model())
