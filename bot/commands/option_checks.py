"""Checks the options of a slash command before the command runs.

After an update of the bot, Discord's client may still offer the earlier commands. discord.py does
not check ranges.
"""

from __future__ import annotations

from typing import Any

import discord
from discord import AppCommandOptionType as Kind
from discord import app_commands

from bot.text.catalog import Translator
from bot.text.command_names import option_key
from bot.text.error_messages import UserError

_TYPES: dict[Kind, type | tuple[type, ...]] = {
    Kind.string: str,
    Kind.integer: int,
    Kind.number: (int, float),
    Kind.boolean: bool,
}
_OUTDATED = (
    app_commands.CommandNotFound,
    app_commands.CommandSignatureMismatch,
    app_commands.TransformerError,
)


class WrongOption(app_commands.AppCommandError):
    """A value is outside the range of its option."""

    def __init__(self, option: app_commands.Parameter, value: Any) -> None:
        super().__init__(f"{option.display_name} cannot be {value!r}")
        self.option, self.value = option, value


def check(interaction: discord.Interaction[Any]) -> None:
    """Check the values of a slash command's options.

    Raises:
        WrongOption: a value is outside its range; the first one is named.
        discord.app_commands.CommandSignatureMismatch: a value has another type, or the command no
            longer has its option.
    """
    command = interaction.command
    if not isinstance(command, app_commands.Command):
        return
    given = dict(iter(interaction.namespace))
    if given.keys() - {option.display_name for option in command.parameters}:
        raise app_commands.CommandSignatureMismatch(command)  # would be ignored
    for option in command.parameters:
        value = given.get(option.display_name)
        if value is None or option.type not in _TYPES:
            continue
        if not isinstance(value, _TYPES[option.type]):
            raise app_commands.CommandSignatureMismatch(command)
        lowest, highest = _range(option)
        size: Any = len(value) if isinstance(value, str) else value
        if not lowest <= size <= highest:
            raise WrongOption(option, value)


def user_error(error: Exception, translate: Translator) -> UserError | None:
    """Return the message for options that do not fit the command; None for other errors."""
    if isinstance(error, _OUTDATED):
        return UserError.because("command_changed")
    if not isinstance(error, WrongOption):
        return None
    option = error.option
    name = translate.find(option_key(option, "name")) or option.display_name
    lowest, highest = _range(option)
    key = "option_length" if option.type is Kind.string else "option_range"
    return UserError.because(key, option=name, lowest=f"{lowest:.10g}", highest=f"{highest:.10g}")


def _range(option: app_commands.Parameter) -> tuple[float, float]:
    """Return the lowest and highest value, or number of characters, of an option."""
    lowest, highest = option.min_value, option.max_value
    return (
        float("-inf") if lowest is None else lowest,
        float("inf") if highest is None else highest,
    )
