"""The forms; their submissions are routed by custom id, so they cost no memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import discord
from discord import ui

from bot.policy.job_request import EditedValues
from bot.policy.strength import STRENGTH_WORDS, strength_name
from bot.text.catalog import Translator
from bot.text.markdown import MAX_PROMPT_CHARS
from bot.views.custom_ids import CustomId
from cascade_core.model_defaults import DEFAULT_STRENGTH

_SEED_CHARS = 10
_SIZE_CHARS = 11
_STRENGTH_CHARS = 20


class EditForm(ui.Modal):
    """Asks for prompts, seed, size and whether to keep the composition, as they were.

    Args:
        translate: translates into the person's language.
        job_id: the job of the pictures.
        values: the earlier values.
        indices: of the job's pictures; with several, the form asks which one to edit instead of
            its seed, because a form has room for five fields.
        may_be_all: offer all pictures as a choice, too.
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
        has_several = len(indices) > 1
        if has_several:
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
            if name == "seed" and has_several:
                continue
            entry: ui.TextInput[ui.Modal] = ui.TextInput(
                custom_id=name,
                style=style,
                default=value[:max_chars] or None,
                required=is_required,
                max_length=max_chars,
            )
            self.add_item(ui.Label(text=translate(f"modal.{name}"), component=entry))
        keep: ui.Checkbox[ui.Modal] = ui.Checkbox(custom_id="keep", default=values.keep)
        self.add_item(ui.Label(text=translate("modal.keep"), component=keep))
        self.stop()  # discord.py keeps no reference to a stopped form


class StartForm(ui.Modal):
    """Asks what a picture that starts from another one shows, and how far it departs.

    Args:
        translate: translates into the person's language.
        message_id: the message with the other picture.
        count: how many pictures the message has; with several, the form asks which one.
    """

    def __init__(self, translate: Translator, message_id: str, count: int) -> None:
        custom_id = str(CustomId("start", message_id))
        super().__init__(title=translate("modal.start"), custom_id=custom_id)
        if count > 1:
            choice = _choice(translate, range(count), may_be_all=False)
            self.add_item(ui.Label(text=translate("modal.which"), component=choice))
        prompt: ui.TextInput[ui.Modal] = ui.TextInput(
            custom_id="prompt", style=discord.TextStyle.paragraph, max_length=MAX_PROMPT_CHARS
        )
        strength: ui.TextInput[ui.Modal] = ui.TextInput(
            custom_id="strength",
            default=strength_name(translate, DEFAULT_STRENGTH),
            required=False,
            max_length=_STRENGTH_CHARS,
        )
        words = ", ".join(strength_name(translate, word) for word in STRENGTH_WORDS)
        told = translate("modal.strength_values", words=words)
        self.add_item(ui.Label(text=translate("modal.prompt"), component=prompt))
        label = translate("modal.strength")
        self.add_item(ui.Label(text=label, description=told, component=strength))
        self.stop()


def values_from(data: Mapping[str, Any], filled_seed: str) -> EditedValues:
    """Return the submitted values of a form; ``filled_seed`` is the seed it was filled with."""
    found = dict(_entries(data.get("components", ())))
    return EditedValues(
        prompt=found.get("prompt", ""),
        negative_prompt=found.get("negative", ""),
        seed=found.get("seed", filled_seed),
        size=found.get("size", ""),
        which=found.get("which", ""),
        filled_seed=filled_seed,
        keep=found.get("keep") == str(True),
        strength=found.get("strength", ""),
    )


def _choice(
    translate: Translator, indices: Sequence[int], may_be_all: bool
) -> ui.RadioGroup[ui.Modal]:
    """Return the choice of a picture, with nothing selected."""
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
