"""``/compare``: pairs of pictures of two models to vote on, without telling which is which."""

from __future__ import annotations

from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.commands.imagine import MAX_MODEL_CHARS, model_choices, prompt_choices
from bot.interactions.responder import Interaction
from bot.interactions.submission import Submission
from bot.policy import job_request
from bot.policy.job_request import MAX_IMAGES, JobRequest
from bot.policy.prompt_parameters import check_parameters
from bot.policy.user_defaults import UserDefaults
from bot.text.error_messages import UserError
from bot.text.markdown import MAX_PROMPT_CHARS, one_line
from cascade_core.operations.fields import MAX_SEED, MIN_IMAGES, MIN_SEED

COMPARE = "compare"
"""The command's name."""


class Compare(commands.Cog):
    """The command that compares two models.

    Args:
        submission: submits the requests.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    @app_commands.command(description="Compare two models, without knowing which is which")
    @app_commands.describe(
        prompt="What the pictures should show",
        first="One of the models",
        second="The other one",
        count="How many pairs",
        negative="What they should not show",
        seed="The same seed makes the same pictures",
        spoiler="Hide them behind a spoiler until they are clicked",
        private="Show them to you alone",
    )
    async def compare(
        self,
        interaction: Interaction,
        prompt: Range[str, 1, MAX_PROMPT_CHARS],
        first: Range[str, 1, MAX_MODEL_CHARS] | None = None,
        second: Range[str, 1, MAX_MODEL_CHARS] | None = None,
        count: Range[int, MIN_IMAGES, MAX_IMAGES] = 1,
        negative: Range[str, 1, MAX_PROMPT_CHARS] | None = None,
        seed: Range[int, MIN_SEED, MAX_SEED] | None = None,
        spoiler: bool = False,
        private: bool | None = None,
    ) -> None:
        """Submit a request for pairs of pictures."""
        responder = self._submission.responder_for(interaction)
        check_parameters(responder.translate, prompt, negative or "")

        async def make(defaults: UserDefaults) -> JobRequest:
            for option, given in (("first", first), ("second", second)):
                name = responder.translate.find(f"command.compare.{option}.name") or option
                await self._submission.check_model(name, given)
            return JobRequest(
                models=await self._models(first, second),
                prompt=job_request.check_prompt(prompt),
                negative_prompt=one_line(defaults.negative if negative is None else negative),
                n=count,
                seed=seed,
                spoiler=spoiler,
                private=defaults.private if private is None else private,
                preview=False,  # it would tell which model is at work
            )

        await self._submission.submit(responder, make)

    async def _models(self, first: str | None, second: str | None) -> tuple[str, str]:
        """Return two models: those that were chosen, or the first ones of the service.

        Raises:
            UserError: they are one, or the service has one alone.
        """
        ids = [model.id for model in await self._submission.models()]
        one = first or next((name for name in ids if name != second), None)
        other = second or next((name for name in ids if name != one), None)
        if one is None or other is None or one == other:
            raise UserError.because("compare_models")
        return one, other

    @compare.autocomplete("first")
    @compare.autocomplete("second")
    async def models(self, _interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest the service's models."""
        return model_choices(self._submission, current)

    @compare.autocomplete("prompt")
    async def suggest(self, _interaction: Interaction, current: str) -> list[Choice[str]]:
        """Suggest prompts that suit the service's first model; any other is accepted, too."""
        return prompt_choices(self._submission, None, current)
