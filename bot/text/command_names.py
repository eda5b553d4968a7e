"""The names and descriptions of commands in every language, for discord.py's sync of commands.

A key follows the path of its command: ``command.admin.limits.steps.description`` is the
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
    """Translates names and descriptions of commands; the English ones are in the code."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def translate(
        self,
        string: locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Return a text in a locale's language; None keeps the English one."""
        if locale.value.startswith(FALLBACK):
            return None
        return self._catalog.translation(key_of(context), locale.value)


def key_of(context: app_commands.TranslationContextTypes) -> str:
    """Return the key of a text in the language files."""
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
