"""Discord's rules for the commands that an application syncs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.raw_api import RawApi


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Draw"},
        {"name": "two words"},
        {"description": ""},
        {"description": "x" * 101},
        {"options": [{"type": 3, "name": f"o{n}", "description": "x"} for n in range(26)]},
        {
            "options": [
                {"type": 3, "name": "a", "description": "x"},
                {"type": 3, "name": "b", "description": "x", "required": True},
            ]
        },
        {"name_localizations": {"fr": "Dessiner"}},
        {
            "options": [
                {
                    "type": 3,
                    "name": f"o{n}",
                    "description": "x",
                    "choices": [{"name": "x" * 50, "value": f"{m}" * 50} for m in range(10)],
                }
                for n in range(9)
            ]
        },
    ],
)
async def test_a_command_that_breaks_a_rule_is_not_synced(
    fake: FakeDiscord, api: RawApi, wrong: dict[str, Any]
) -> None:
    before = dict(fake.commands)
    command = {"name": "draw", "description": "Draw"} | wrong
    refused = await api("PUT", f"/applications/{fake.bot.id}/commands", [command])
    assert refused.problem == (400, 50035)
    assert fake.commands == before


async def test_a_command_keeps_its_id_over_a_sync_and_loses_it_with_its_name(
    fake: FakeDiscord, api: RawApi
) -> None:
    first = {name: command["id"] for (_, name), command in fake.commands[None].items()}
    await api.sync("draw", "paint")
    second = {name: command["id"] for (_, name), command in fake.commands[None].items()}
    assert second["draw"] == first["draw"]
    assert second.keys() == {"draw", "paint"}
