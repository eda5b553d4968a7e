"""Modals: Discord's rules for them, and what may answer one that was submitted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.fake_discord.interactions import Callback
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.world import Channel
from tests.wire.raw_api import RawApi

FIELD = {"type": 4, "custom_id": "prompt", "style": 1}
LABEL = {"type": 18, "label": "Prompt", "component": FIELD}
MODAL = {"custom_id": "edit", "title": "Edit", "components": [LABEL]}


def many(count: int) -> list[dict[str, Any]]:
    return [LABEL | {"component": FIELD | {"custom_id": f"f{n}"}} for n in range(count)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "x" * 46},
        {"title": ""},
        {"custom_id": "x" * 101},
        {"components": []},
        {"components": many(6)},
        {"components": [LABEL, LABEL]},
        {"components": [LABEL | {"label": "x" * 46}]},
        {"components": [LABEL | {"component": FIELD | {"value": "x" * 4001}}]},
        {"components": [LABEL | {"component": FIELD | {"value": "xxx", "max_length": 2}}]},
        {"components": [LABEL | {"component": FIELD | {"placeholder": "x" * 101}}]},
    ],
)
async def test_a_modal_that_breaks_a_rule_is_not_shown(
    api: RawApi, channel: Channel, alice: Person, wrong: dict[str, Any]
) -> None:
    call = await alice.slash(channel, "draw")
    refused = await api.answer(call, Callback.MODAL, MODAL | wrong)
    assert refused.problem == (400, 50035)
    assert (call.ack, call.modal) == (None, None)


async def test_five_fields_and_the_longest_texts_are_fine(
    api: RawApi, channel: Channel, alice: Person
) -> None:
    longest = {"title": "x" * 45, "custom_id": "x" * 100, "components": many(5)}
    call = await alice.slash(channel, "draw")
    assert (await api.answer(call, Callback.MODAL, longest)).status == 204


async def test_a_modal_that_came_from_no_message_changes_none(
    api: RawApi, channel: Channel, alice: Person
) -> None:
    call = await alice.slash(channel, "draw")
    await api.answer(call, Callback.MODAL, MODAL)
    submitted = await alice.submit(call, Prompt="a dog")
    assert (await api.answer(submitted, Callback.DEFERRED_UPDATE)).problem == (400, 50035)
    assert (await api.answer(submitted, Callback.MODAL, MODAL)).problem == (400, 50035)
    assert (await api.answer(submitted, Callback.DEFERRED_MESSAGE)).status == 204
