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
_TEXT_CHARS = 4000
"""The longest text that Discord takes in a form."""
MAX_REASON_CHARS = 1000


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
        prompt, negative = values.prompt, values.negative_prompt
        self.add_item(_text(translate, "prompt", prompt, MAX_PROMPT_CHARS, is_long=True))
        self.add_item(
            _text(translate, "negative", negative, MAX_PROMPT_CHARS, is_long=True, is_optional=True)
        )
        if not has_several:
            self.add_item(_text(translate, "seed", values.seed, _SEED_CHARS, is_optional=True))
        self.add_item(_text(translate, "size", values.size, _SIZE_CHARS, is_optional=True))
        keep: ui.Checkbox[ui.Modal] = ui.Checkbox(custom_id="keep", default=values.keep)
        told = translate("modal.keep_values")
        self.add_item(ui.Label(text=translate("modal.keep"), description=told, component=keep))
        self.stop()  # discord.py keeps no reference to a stopped form


class SeriesForm(ui.Modal):
    """Asks for what the pictures of a series share and what changes, as it was.

    Args:
        translate: translates into the person's language.
        title: the key of its title.
        custom_id: of the form.
        values: the earlier values; the prompt is the template.
        indices: of the pictures whose composition can be kept; with several, the form asks which
            one instead of the seed, because a form has room for five fields.
    """

    def __init__(
        self,
        translate: Translator,
        title: str,
        custom_id: CustomId,
        values: EditedValues,
        indices: Sequence[int] = (),
    ) -> None:
        super().__init__(title=translate(title), custom_id=str(custom_id))
        has_several = len(indices) > 1
        if has_several:
            choice = _choice(translate, indices, may_be_all=False)
            self.add_item(ui.Label(text=translate("modal.which"), component=choice))
        template, told = values.prompt, translate("modal.template_values")
        self.add_item(
            _text(translate, "template", template, MAX_PROMPT_CHARS, told=told, is_long=True)
        )
        # In one line: a line break would separate nothing.
        told = translate("modal.variants_values")
        self.add_item(_text(translate, "variants", values.variants, _TEXT_CHARS, told=told))
        self.add_item(_strength(translate, values.strength))
        self.add_item(
            _text(translate, "negative", values.negative_prompt, MAX_PROMPT_CHARS, is_optional=True)
        )
        if not has_several:
            self.add_item(_text(translate, "seed", values.seed, _SEED_CHARS, is_optional=True))
        self.stop()


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
        self.add_item(_text(translate, "prompt", "", MAX_PROMPT_CHARS, is_long=True))
        self.add_item(_strength(translate, strength_name(translate, DEFAULT_STRENGTH)))
        self.stop()


class RejectForm(ui.Modal):
    """Asks why a picture is not approved.

    Args:
        translate: translates into the person's language.
        custom_id: of the form.
    """

    def __init__(self, translate: Translator, custom_id: CustomId) -> None:
        super().__init__(title=translate("modal.reject"), custom_id=str(custom_id))
        self.add_item(_text(translate, "reason", "", MAX_REASON_CHARS, is_long=True))
        self.stop()


def reason_from(data: Mapping[str, Any]) -> str:
    """Return the reason in a submitted form of `RejectForm`."""
    return dict(_entries(data.get("components", ()))).get("reason", "").strip()


def values_from(data: Mapping[str, Any], filled_seed: str) -> EditedValues:
    """Return the submitted values of a form; ``filled_seed`` is the seed it was filled with."""
    found = dict(_entries(data.get("components", ())))
    return EditedValues(
        prompt=found.get("prompt", found.get("template", "")),
        negative_prompt=found.get("negative", ""),
        seed=found.get("seed", filled_seed),
        size=found.get("size", ""),
        which=found.get("which", ""),
        filled_seed=filled_seed,
        keep=found.get("keep") == str(True),
        strength=found.get("strength", ""),
        variants=found.get("variants", ""),
    )


def _text(
    translate: Translator,
    name: str,
    value: str,
    max_chars: int,
    *,
    told: str | None = None,
    is_long: bool = False,
    is_optional: bool = False,
) -> ui.Label[ui.Modal]:
    """Return a field for text, filled in with a value.

    Args:
        translate: translates into the person's language.
        name: the field's id and the key of its label.
        value: what it is filled in with.
        max_chars: longest text.
        told: an explanation under the label.
        is_long: it has several lines.
        is_optional: it may stay empty.
    """
    entry: ui.TextInput[ui.Modal] = ui.TextInput(
        custom_id=name,
        style=discord.TextStyle.paragraph if is_long else discord.TextStyle.short,
        default=value[:max_chars] or None,
        required=not is_optional,
        max_length=max_chars,
    )
    return ui.Label(text=translate(f"modal.{name}"), description=told, component=entry)


def _strength(translate: Translator, value: str) -> ui.Label[ui.Modal]:
    words = ", ".join(strength_name(translate, word) for word in STRENGTH_WORDS)
    told = translate("modal.strength_values", words=words)
    return _text(translate, "strength", value, _STRENGTH_CHARS, told=told, is_optional=True)


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
