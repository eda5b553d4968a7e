"""The commands as Discord receives them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest_asyncio

from bot.app import CascadeBot
from bot.service.client import CascadeClient
from bot.service.models import ModelInfo
from bot.settings import load_settings
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog
from bot.text.command_names import CommandTranslator

SUBCOMMANDS = (1, 2)
CHAT, MENU = 1, 3


@pytest_asyncio.fixture
async def bot(catalog: Catalog) -> AsyncIterator[CascadeBot]:
    """A bot that is not connected."""
    transport = httpx.MockTransport(lambda _: httpx.Response(503))
    client = CascadeClient("http://x", transport=transport)
    bot = CascadeBot(load_settings(token="t"), client, catalog, Metrics())
    await bot.setup_hook()
    yield bot
    await client.close()


async def payloads(bot: CascadeBot, catalog: Catalog) -> list[dict[str, Any]]:
    translator = CommandTranslator(catalog)
    found = [
        await command.get_translated_payload(bot.tree, translator)
        for command in bot.tree.get_commands()
    ]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def parts(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield payload
    for option in payload.get("options", []):
        yield from parts(option)


async def test_every_name_and_description_is_there_in_every_language(
    bot: CascadeBot, catalog: Catalog
) -> None:
    for payload in await payloads(bot, catalog):
        for part in parts(payload):
            for language in catalog.by_language.keys() - {"en"}:
                what = (payload["name"], part["name"], language)
                names = part["name_localizations"]
                assert language in names, what
                if payload["type"] == CHAT:
                    assert language in part["description_localizations"], what
                for choice in part.get("choices") or []:
                    assert language in choice["name_localizations"], what


async def test_names_and_descriptions_are_what_discord_takes(
    bot: CascadeBot, catalog: Catalog
) -> None:
    for payload in await payloads(bot, catalog):
        for part in parts(payload):
            names = [part["name"], *part["name_localizations"].values()]
            if payload["type"] == MENU:
                assert all(1 <= len(name) <= 32 for name in names)
                continue
            assert all(re.fullmatch(r"[\w-]{1,32}", name) for name in names), names
            assert all(name == name.lower() for name in names), names
            told = [part["description"], *part["description_localizations"].values()]
            assert all(1 <= len(text) <= 100 for text in told), told


async def test_no_translation_is_left_over(bot: CascadeBot, catalog: Catalog) -> None:
    used: set[str] = set()

    class Noting(CommandTranslator):
        async def translate(self, string: Any, locale: Any, context: Any) -> str | None:
            from bot.text.command_names import key_of

            used.add(key_of(context))
            return await super().translate(string, locale, context)

    noting = Noting(catalog)
    for command in bot.tree.get_commands():
        await command.get_translated_payload(bot.tree, noting)
    for language in catalog.by_language.keys() - {"en"}:
        written = {key for key in catalog.by_language[language] if key.startswith("command.")}
        assert written == {key for key in used if key.startswith("command.")}, language


async def test_commands_work_everywhere_but_rules_in_servers_only(
    bot: CascadeBot, catalog: Catalog
) -> None:
    by_name = {payload["name"]: payload for payload in await payloads(bot, catalog)}
    assert by_name.keys() == {
        "imagine", "draft", "compare", "series", "show", "gallery", "approved", "queue", "settings",
        "about", "admin", "Vary details", "Image info", "Start from this picture",
    }  # fmt: skip
    for name, payload in by_name.items():
        is_admin = name == "admin"
        is_of_servers = name in ("admin", "approved")
        assert sorted(payload["contexts"]) == ([0] if is_of_servers else [0, 1, 2])
        assert sorted(payload["integration_types"]) == ([0] if is_admin else [0, 1])
    assert by_name["admin"]["default_member_permissions"] == 1 << 5  # Manage Server


async def test_what_the_model_cannot_start_from_is_not_asked_for(
    bot: CascadeBot, catalog: Catalog
) -> None:
    def offering(*kinds: str, takes_uploads: bool = True) -> ModelInfo:
        sizes = 256, 256, 128, 256, 512
        return ModelInfo("demo", "x", *sizes, (), 12, (), kinds, takes_uploads)

    async def found() -> tuple[bool, set[str]]:
        await bot.fit_commands()
        by_name = {payload["name"]: payload for payload in await payloads(bot, catalog)}
        options = {option["name"] for option in by_name["imagine"]["options"]}
        return "Start from this picture" in by_name, options & {"image", "strength", "prompt"}

    bot._client.known_models = (offering("generate", "image_to_image"),)
    assert await found() == (True, {"prompt", "image", "strength"})
    bot._client.known_models = (offering("generate", "image_to_image", takes_uploads=False),)
    assert await found() == (True, {"prompt"})
    bot._client.known_models = (offering("generate"),)
    assert await found() == (False, {"prompt"})


async def test_a_model_is_chosen_or_compared_only_where_there_are_several(
    bot: CascadeBot, catalog: Catalog
) -> None:
    async def with_option(*models: str) -> list[str]:
        values = "x", 256, 256, 128, 256, 512, (), 12, (), ("generate", "series")
        bot._client.known_models = tuple(ModelInfo(name, *values) for name in models)
        await bot.fit_commands()
        return [
            payload["name"]
            for payload in await payloads(bot, catalog)
            if {"model", "first"} & {option["name"] for option in payload.get("options", ())}
        ]

    assert await with_option("demo", "other") == ["imagine", "draft", "compare", "series"]
    assert await with_option("demo") == []


async def test_a_model_that_makes_no_series_has_no_command_for_them(
    bot: CascadeBot, catalog: Catalog
) -> None:
    async def names(*kinds: str) -> set[str]:
        model = ModelInfo("demo", "x", 256, 256, 128, 256, 512, (), 12, operations=kinds)
        bot._client.known_models = (model,)
        await bot.fit_commands()
        return {payload["name"] for payload in await payloads(bot, catalog)}

    assert "series" in await names("generate", "series")
    assert "series" not in await names("generate")


async def test_the_hash_follows_the_commands_and_where_they_go(
    bot: CascadeBot, catalog: Catalog
) -> None:
    before = await bot.commands_hash()
    assert await bot.commands_hash() == before
    bot.tree.remove_command("queue")
    assert await bot.commands_hash() != before
