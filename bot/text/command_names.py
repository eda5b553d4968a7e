"""Commands in people's languages: what discord.py asks for when commands are put in place.

A text's key follows from where it stands: ``command.admin.limits.steps.description`` is the
description of the option ``steps`` of ``/admin limits``.
"""

from __future__ import annotations

import discord
from discord import app_commands
from discord.app_commands import TranslationContextLocation as Location
from discord.app_commands import locale_str

from bot.text.catalog import FALLBACK, Catalog

_NAMES = (Location.command_name, Location.group_name, Location.parameter_name)


class CommandTranslator(app_commands.Translator):
    """Finds the names and descriptions of commands; English ones are in the code."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def translate(
        self,
        string: locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Return a text in a language; None leaves the English one."""
        if locale.value.startswith(FALLBACK):
            return None
        return self._catalog.translation(key_of(context), locale.value)


def key_of(context: app_commands.TranslationContextTypes) -> str:
    """Return the key under which the language files have a text."""
    data = context.data
    what = "name" if context.location in _NAMES else "description"
    if isinstance(data, app_commands.Parameter):
        return option_key(data, what)
    return f"command.{_path(data)}.{what}"


def option_key(option: app_commands.Parameter, what: str) -> str:
    """Return the key of an option's ``name`` or ``description``."""
    return f"command.{_path(option.command)}.{option.name}.{what}"


def _path(command: object) -> str:
    name = str(getattr(command, "qualified_name", ""))
    if isinstance(command, app_commands.ContextMenu):
        return name.lower().replace(" ", "_")
    return name.replace(" ", ".")
