"""Routes of the application itself: login, its commands, its private channels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.wire.fake_discord.errors import ApiError, Problem, form_error
from tests.wire.fake_discord.messages import Json
from tests.wire.fake_discord.rest import Call, Routes

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

ROUTES = Routes()
SLASH, MESSAGE_MENU = 1, 3
_MOST = {SLASH: 100, 2: 15, MESSAGE_MENU: 15}
_MAX_OPTIONS, _MAX_CHARACTERS = 25, 8000


@ROUTES.add("GET", "/users/@me")
async def me(fake: FakeDiscord, call: Call) -> Json:
    return fake.bot.own_json()


@ROUTES.add("GET", "/users/{user_id}")
async def user(fake: FakeDiscord, call: Call) -> Json:
    found = next((u for u in fake.users if u.id == call.args["user_id"]), None)
    if found is None:
        raise ApiError(Problem.UNKNOWN_USER)
    return found.json()


@ROUTES.add("GET", "/oauth2/applications/@me")
@ROUTES.add("GET", "/applications/@me")
async def application(fake: FakeDiscord, call: Call) -> Json:
    return {
        "id": fake.bot.id,
        "name": fake.bot.name,
        "icon": None,
        "description": "",
        "type": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 0,
        "flags_new": "0",
        "owner": fake.owner.json(),
        "team": None,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": [],
        "approximate_guild_count": sum(fake.bot.id in guild.members for guild in fake.guilds),
        "approximate_user_install_count": sum(user.has_app for user in fake.users),
        "approximate_user_authorization_count": 0,
    }


@ROUTES.add("GET", "/gateway/bot")
async def gateway(fake: FakeDiscord, call: Call) -> Json:
    start = {
        "total": 1000,
        "remaining": fake.gateway.identifies_left,
        "reset_after": 0,
        "max_concurrency": 1,
    }
    shards = fake.gateway.shard_count
    return {"url": fake.gateway_url, "shards": shards, "session_start_limit": start}


@ROUTES.add("GET", "/applications/{app}/emojis")
async def emojis(fake: FakeDiscord, call: Call) -> Json:
    return {"items": []}


@ROUTES.add("GET", "/applications/{app}/commands")
@ROUTES.add("GET", "/applications/{app}/guilds/{guild_id}/commands")
async def list_commands(fake: FakeDiscord, call: Call) -> list[Json]:
    return list(fake.commands.get(_scope(fake, call), {}).values())


@ROUTES.add("PUT", "/applications/{app}/commands")
@ROUTES.add("PUT", "/applications/{app}/guilds/{guild_id}/commands")
async def put_commands(fake: FakeDiscord, call: Call) -> list[Json]:
    scope, sent = _scope(fake, call), call.json
    for index, command in enumerate(sent):
        _check(f"{index}", command)
    for kind, most in _MOST.items():
        if sum(command.get("type", SLASH) == kind for command in sent) > most:
            raise form_error("commands", f"At most {most} commands of this type.", "TOO_MANY")
    old = fake.commands.get(scope, {})
    fake.commands[scope] = {_key(command): _kept(fake, scope, old, command) for command in sent}
    return list(fake.commands[scope].values())


def _scope(fake: FakeDiscord, call: Call) -> str | None:
    if call.args["app"] != fake.bot.id:
        raise ApiError(Problem.UNKNOWN_APPLICATION)
    guild_id = call.args.get("guild_id")
    if guild_id is not None:
        guild = next((guild for guild in fake.guilds if guild.id == guild_id), None)
        if guild is None or fake.bot.id not in guild.members:
            raise ApiError(Problem.MISSING_ACCESS)
    return guild_id


def _key(command: Json) -> tuple[int, str]:
    return command.get("type", SLASH), command["name"]


def _kept(fake: FakeDiscord, scope: str | None, old: dict[Any, Json], command: Json) -> Json:
    """Return a command as Discord keeps it; one with the name of an old one keeps its id."""
    before, needed = old.get(_key(command), {}), command.get("default_member_permissions")
    kept = {
        "description": "",  # menus have none
        **command,
        "id": before.get("id") or fake.snowflakes.new(),
        "application_id": fake.bot.id,
        "version": fake.snowflakes.new(),
        "type": command.get("type", SLASH),
        "default_member_permissions": None if needed is None else str(needed),
        "integration_types": command.get("integration_types") or [0],
    }
    return kept | ({"guild_id": scope} if scope else {})


def _check(path: str, command: Json) -> None:
    kind, name = command.get("type", SLASH), command["name"]
    if kind == SLASH:
        _check_names(path, command)
    elif not 1 <= len(name) <= 32 or command.get("description"):
        raise form_error(f"{path}.name", "A menu has a short name and no description.")
    if _characters(command) > _MAX_CHARACTERS:
        text = "Command exceeds maximum size (8000)"
        raise form_error(path, text, "APPLICATION_COMMAND_TOO_LARGE")


def _check_names(path: str, spec: Json) -> None:
    name, options = spec["name"], spec.get("options") or []
    names = [name, *(spec.get("name_localizations") or {}).values()]
    if any(not re.fullmatch(r"[-_'\w]{1,32}", n) or n != n.lower() for n in names):
        text = "Command name is invalid"
        raise form_error(f"{path}.name", text, "APPLICATION_COMMAND_INVALID_NAME")
    texts = [spec.get("description"), *(spec.get("description_localizations") or {}).values()]
    if any(not 1 <= len(text or "") <= 100 for text in texts):
        raise form_error(f"{path}.description", "Must be between 1 and 100 in length.")
    if len(options) > _MAX_OPTIONS or len(spec.get("choices") or []) > _MAX_OPTIONS:
        raise form_error(f"{path}.options", f"Must be {_MAX_OPTIONS} or fewer in length.")
    is_required = [bool(option.get("required")) for option in options]
    if is_required != sorted(is_required, reverse=True):
        text = "Required options must be placed before non-required options"
        raise form_error(f"{path}.options", text, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID")
    for index, option in enumerate(options):
        _check_names(f"{path}.options.{index}", option)


def _characters(spec: Json) -> int:
    """Count what Discord counts: names, descriptions, values; of translations the longest."""
    total = 0
    for name in ("name", "description"):
        texts = [spec.get(name) or "", *(spec.get(f"{name}_localizations") or {}).values()]
        total += max(map(len, texts))
    for choice in spec.get("choices") or []:
        total += len(choice["name"]) + len(str(choice["value"]))
    return total + sum(_characters(option) for option in spec.get("options") or [])


@ROUTES.add("POST", "/users/@me/channels")
async def open_dm(fake: FakeDiscord, call: Call) -> Json:
    wanted = str(call.json["recipient_id"])
    found = next((user for user in fake.users if user.id == wanted), None)
    if found is None:
        raise ApiError(Problem.UNKNOWN_USER)
    return fake.dm_of(found).json()
