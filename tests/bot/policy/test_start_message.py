"""What is noted of a message while a person fills in the form for its picture."""

from __future__ import annotations

from typing import Any

import pytest

from bot.policy.start_message import StartMessage, StartMessageStore
from bot.text.error_messages import UserError
from tests.bot.memory_preferences import MemoryPreferences


def of(number: int, **changes: Any) -> StartMessage:
    return StartMessage(id=str(number), pictures=("https://cdn/a.png",), **changes)


async def test_a_noted_message_is_found_by_another_process() -> None:
    kept: Any = MemoryPreferences()
    message = of(1, job_id="JOB", link="https://x", private=True, spoiler=True)
    await StartMessageStore(kept).note("ann", message)
    assert await StartMessageStore(kept).find("ann", "1") == message
    with pytest.raises(UserError, match="form_forgotten"):
        await StartMessageStore(kept).find("bob", "1")


async def test_the_newest_three_messages_of_a_person_are_noted() -> None:
    kept: Any = MemoryPreferences()
    store = StartMessageStore(kept)
    for number in (1, 2, 3, 1, 4):
        await store.note("ann", of(number))
    assert [message["id"] for message in kept.kept["starts", "ann"]["messages"]] == ["3", "1", "4"]
    with pytest.raises(UserError, match="form_forgotten"):
        await store.find("ann", "2")


def test_a_picture_is_chosen_by_its_place() -> None:
    message = StartMessage(id="1", pictures=("a", "b"))
    assert [message.picture(which) for which in ("", "0", "1")] == ["a", "a", "b"]
    with pytest.raises(UserError, match="picture_gone"):
        message.picture("2")
