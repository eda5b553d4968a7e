"""What Discord's own client checks before it sends anything on a person's behalf."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.wire.fake_discord.errors import ClientRefusesError
from tests.wire.fake_discord.interactions import owners_of
from tests.wire.fake_discord.messages import Json, Upload
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.world import Channel, Context, User

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

SUBCOMMANDS = (1, 2)
STRING, INTEGER, BOOLEAN, NUMBER, ATTACHMENT = 3, 4, 5, 10, 11
_PYTHON: dict[int, type | tuple[type, ...]] = {
    STRING: str,
    INTEGER: int,
    BOOLEAN: bool,
    NUMBER: (int, float),
    ATTACHMENT: Upload,
}
_PUBLIC_CONTEXTS = (Context.GUILD, Context.BOT_DM)


def find_command(fake: FakeDiscord, user: User, channel: Channel, kind: int, name: str) -> Json:
    """Return a command that the client offers a user in a channel.

    Raises:
        ClientRefusesError: it was never synced, or is not for this user or place.
    """
    scopes = [fake.commands.get(scope, {}) for scope in (channel.guild_id, None)]
    command = next((scope[kind, name] for scope in scopes if (kind, name) in scope), None)
    if command is None:
        have = sorted({known for scope in scopes for _, known in scope})
        raise ClientRefusesError(f"{name!r} was never synced here (there are: {have})")
    check_place(fake, user, channel)
    _check_installation(fake, command, user, channel)
    if command.get("nsfw") and channel.context is Context.GUILD and not channel.is_nsfw:
        raise ClientRefusesError(f"{name!r} is age-restricted, #{channel.name} is not")
    needed = command.get("default_member_permissions")
    if needed is not None and channel.guild is not None:
        has = channel.permissions_of(user)
        if not int(needed) or has & int(needed) != int(needed):
            raise ClientRefusesError(f"{user.name} has no permission to use {name!r}")
    return command


def offered(fake: FakeDiscord, user: User, channel: Channel) -> dict[str, str]:
    """Return the names and descriptions, in a user's language, of what the client offers."""
    found: dict[str, str] = {}
    for scope in (channel.guild_id, None):
        for (kind, name), command in fake.commands.get(scope, {}).items():
            with suppress(ClientRefusesError):
                find_command(fake, user, channel, kind, name)
                shown = _translated(command, "name", user.locale)
                found[shown] = _translated(command, "description", user.locale)
    return found


def _translated(spec: Json, field: str, locale: str) -> str:
    text: str = (spec.get(f"{field}_localizations") or {}).get(locale) or spec[field]
    return text


def check_place(fake: FakeDiscord, user: User, channel: Channel) -> None:
    """Raise a ClientRefusesError if a user does not see a channel."""
    if not channel.may(user, Permission.VIEW_CHANNEL):
        raise ClientRefusesError(f"{user.name} does not see #{channel.name}")


def _check_installation(fake: FakeDiscord, command: Json, user: User, channel: Channel) -> None:
    owners = owners_of(user, channel, fake.bot)
    installed = {int(kind) for kind in owners} & set(command["integration_types"])
    contexts = command.get("contexts")
    if contexts is None and command.get("dm_permission") is False:  # the older way to say it
        contexts = [int(Context.GUILD)]
    if not installed:
        raise ClientRefusesError(f"{command['name']!r} is not installed in #{channel.name}")
    if contexts is not None and int(channel.context) not in contexts:
        raise ClientRefusesError(f"{command['name']!r} is not offered in #{channel.name}")


def subcommand(command: Json, names: list[str]) -> tuple[list[Json], list[Json]]:
    """Return the options of a command's subcommand, and the specs on the way to it."""
    specs, way = command.get("options") or [], []
    for name in names:
        spec = next((s for s in specs if s["name"] == name and s["type"] in SUBCOMMANDS), None)
        if spec is None:
            raise ClientRefusesError(f"{command['name']!r} has no subcommand {name!r}")
        way.append(spec)
        specs = spec.get("options") or []
    if any(spec["type"] in SUBCOMMANDS for spec in specs):
        raise ClientRefusesError(f"{command['name']!r} needs one of its subcommands")
    return specs, way


def check_options(specs: list[Json], values: dict[str, Any], is_typing: bool) -> None:
    """Raise a ClientRefusesError if the client would not send these options.

    While a person is still typing nothing but the names is checked.
    """
    known = {spec["name"] for spec in specs}
    if unknown := values.keys() - known:
        raise ClientRefusesError(f"no options {sorted(unknown)} (there are: {sorted(known)})")
    for spec in () if is_typing else specs:
        if spec["name"] in values:
            _check_value(spec, values[spec["name"]])
        elif spec.get("required"):
            raise ClientRefusesError(f"option {spec['name']} is required")


def _check_value(spec: Json, value: Any) -> None:
    name, kind = spec["name"], spec["type"]
    if isinstance(value, bool) != (kind == BOOLEAN) or not isinstance(
        value, _PYTHON.get(kind, object)
    ):
        raise ClientRefusesError(f"{name} is not of its type: {value!r}")
    if spec.get("choices") and value not in [choice["value"] for choice in spec["choices"]]:
        raise ClientRefusesError(f"{name} has no choice {value!r}")
    if isinstance(value, Channel) and value.type not in spec.get("channel_types", [value.type]):
        raise ClientRefusesError(f"{name} is no channel of its kind: #{value.name}")
    size = len(value) if isinstance(value, str) else value
    low, high = ("min_length", "max_length") if kind == STRING else ("min_value", "max_value")
    if kind in (STRING, INTEGER, NUMBER):
        lowest, highest = spec.get(low), spec.get(high)
        if (lowest is not None and size < lowest) or (highest is not None and size > highest):
            raise ClientRefusesError(f"{name} is not within {lowest} to {highest}: {value!r}")
