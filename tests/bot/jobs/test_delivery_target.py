"""Where a job's outcome is delivered, as the service stores it."""

from __future__ import annotations

import time

from bot.jobs.delivery_target import DeliveryTarget, presentation_of
from bot.policy.message_credit import Credit
from tests.bot.conftest import JOB_ID


def target(**changes: object) -> DeliveryTarget:
    values: dict[str, object] = {
        "application_id": 1,
        "token": "t" * 200,
        "token_until": time.time() + 900,
        "channel_id": 2**62,
        "message_id": 2**62,
        "user_id": 2**62,
        "guild_id": None,
        "reachable": True,
        "private": False,
        "spoiler": False,
        "preview": True,
        "locale": "de",
        "file_limit_bytes": 10,
        "of": (JOB_ID, 1),
        "credit": Credit("vary", 4, "https://discord.com/channels/1/2/3"),
    }
    return DeliveryTarget(**values | changes)  # type: ignore[arg-type]


def test_an_address_survives_its_way_through_the_service() -> None:
    state = target().to_state()
    assert state["inbox"] == "discord.1"
    assert DeliveryTarget.from_state(state) == target(token_until=state["address"]["token_until"])


def test_an_address_of_an_earlier_version_is_still_one() -> None:
    state = target().to_state()
    del state["address"]["credit"]
    found = DeliveryTarget.from_state(state)
    assert found is not None
    assert found.credit is None


def test_what_a_picture_came_from_is_known_after_its_delivery() -> None:
    shown = presentation_of(target(spoiler=True).delivered_state())
    assert (shown.spoiler, shown.of) == (True, (JOB_ID, 1))
    assert shown.credit == Credit("vary", 4, "https://discord.com/channels/1/2/3")


def test_after_delivery_neither_inbox_nor_token_are_left() -> None:
    state = target().delivered_state()
    assert "inbox" not in state
    assert "ttt" not in str(state)
    assert DeliveryTarget.from_state(state) is None


def test_a_private_message_is_out_of_reach_without_its_token() -> None:
    assert target().bot_may_edit
    assert not target(private=True).bot_may_edit
    assert not target(reachable=False).bot_may_edit
    assert target().has_token
    assert not target(token_until=time.time() + 5).has_token
