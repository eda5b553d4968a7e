"""The Edit form; none of it is kept in memory: submissions are routed by id, as presses are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import discord
from discord import ui

from bot.policy.job_request import EditedValues
from bot.text.catalog import Translator
from bot.text.markdown import MAX_PROMPT_CHARS
from bot.views.custom_ids import CustomId

_SEED_CHARS = 10
_SIZE_CHARS = 11


class EditForm(ui.Modal):
    """Asks for prompt, negative prompt, seed and size, filled with what they were.

    Args:
        translate: the language.
        job_id: of the pictures.
        values: what it is filled with.
        indices: of the job's pictures; of several, it asks first which one is meant.
        may_be_all: all of them is an answer, too.
    """

    def __init__(
        self,
        translate: Translator,
        job_id: str,
        values: EditedValues,
        indices: Sequence[int] = (),
        may_be_all: bool = True,
    ) -> None:
        custom_id = str(CustomId("edit", job_id, values.seed))
        super().__init__(title=translate("modal.title"), custom_id=custom_id)
        if len(indices) > 1:
            choice = _choice(translate, indices, may_be_all)
            self.add_item(ui.Label(text=translate("modal.which"), component=choice))
        long, short = discord.TextStyle.paragraph, discord.TextStyle.short
        fields = (
            ("prompt", values.prompt, long, MAX_PROMPT_CHARS, True),
            ("negative", values.negative_prompt, long, MAX_PROMPT_CHARS, False),
            ("seed", values.seed, short, _SEED_CHARS, False),
            ("size", values.size, short, _SIZE_CHARS, False),
        )
        for name, value, style, max_chars, is_required in fields:
            entry: ui.TextInput[ui.Modal] = ui.TextInput(
                custom_id=name,
                style=style,
                default=value[:max_chars] or None,
                required=is_required,
                max_length=max_chars,
            )
            self.add_item(ui.Label(text=translate(f"modal.{name}"), component=entry))
        self.stop()  # so that discord.py keeps no copy, see the module's first line


def values_from(data: Mapping[str, Any], filled_seed: str) -> EditedValues:
    """Read what was submitted in a form that was filled with a seed."""
    found = dict(_entries(data.get("components", ())))
    return EditedValues(
        prompt=found.get("prompt", ""),
        negative_prompt=found.get("negative", ""),
        seed=found.get("seed", ""),
        size=found.get("size", ""),
        which=found.get("which", ""),
        filled_seed=filled_seed,
    )


def _choice(
    translate: Translator, indices: Sequence[int], may_be_all: bool
) -> ui.RadioGroup[ui.Modal]:
    """Return the question which picture is meant; nothing is chosen yet."""
    options = [
        discord.RadioGroupOption(label=str(number), value=str(index))
        for number, index in enumerate(indices, 1)
    ]
    if may_be_all:
        label = translate("modal.all", count=len(indices))
        options.append(discord.RadioGroupOption(label=label, value="all"))
    return ui.RadioGroup(custom_id="which", options=options)


def _entries(components: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for component in components:
        if "custom_id" in component:
            yield component["custom_id"], str(component.get("value") or "")
        if "component" in component:
            yield from _entries([component["component"]])
        yield from _entries(component.get("components", ()))
