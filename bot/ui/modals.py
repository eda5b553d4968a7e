"""The Edit form; none of it is kept in memory: submissions are routed by id, as presses are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import discord
from discord import ui

from bot.custom_ids import CustomId
from bot.markdown import MAX_PROMPT_CHARS
from bot.texts import Voice
from bot.ui.layouts import FormValues

_SEED_CHARS = 10
_SIZE_CHARS = 11


class EditForm(ui.Modal):
    """Asks for prompt, negative prompt, seed and size, filled with what they were."""

    def __init__(self, voice: Voice, job_id: str, values: FormValues) -> None:
        super().__init__(title=voice("modal.title"), custom_id=str(CustomId("edit", job_id)))
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
            self.add_item(ui.Label(text=voice(f"modal.{name}"), component=entry))
        self.stop()  # so that discord.py keeps no copy, see the module's first line


def values_from(data: Mapping[str, Any]) -> FormValues:
    """Read what was submitted."""
    found = dict(_entries(data.get("components", ())))
    return FormValues(
        found.get("prompt", ""),
        found.get("negative", ""),
        found.get("seed", ""),
        found.get("size", ""),
    )


def _entries(components: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for component in components:
        if "custom_id" in component:
            yield component["custom_id"], str(component.get("value") or "")
        if "component" in component:
            yield from _entries([component["component"]])
        yield from _entries(component.get("components", ()))
