"""What a person's pictures are like by default."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.policy.user_defaults import UserDefaults, UserDefaultsStore
from cascade_core.errors import NotReady
from tests.bot.memory_preferences import MemoryPreferences


def test_defaults_survive_their_way_through_the_service_and_an_unknown_shape_is_dropped() -> None:
    defaults = UserDefaults(aspect="wide", private=True)
    assert UserDefaults.from_value(defaults.to_value()) == defaults
    assert UserDefaults.from_value({"aspect": "round"}) == UserDefaults()


def private(defaults: UserDefaults) -> UserDefaults:
    return replace(defaults, private=True)


async def test_each_wish_is_kept_when_many_people_turn_private_at_once() -> None:
    preferences: Any = MemoryPreferences()
    people, users = UserDefaultsStore(preferences), [f"discord:{number}" for number in range(5)]
    await asyncio.gather(*(people.change(user, private) for user in users))
    for known in (people, UserDefaultsStore(preferences)):
        assert [(await known.get(user)).private for user in users] == [True] * 5


async def test_a_wish_survives_other_changes_of_the_same_person_and_reads_on_their_way() -> None:
    preferences: Any = MemoryPreferences()
    people = UserDefaultsStore(preferences)
    await asyncio.gather(
        people.get("ann"),
        people.change("ann", private),
        people.change("ann", lambda defaults: replace(defaults, aspect="wide")),
        people.get("ann"),
    )
    assert await people.get("ann") == UserDefaults(private=True, aspect="wide")
    assert await UserDefaultsStore(preferences).get("ann") == UserDefaults(
        private=True, aspect="wide"
    )


async def test_a_change_that_may_have_been_kept_is_asked_for_again() -> None:
    preferences: Any = MemoryPreferences()
    people = UserDefaultsStore(preferences)
    assert not (await people.get("ann")).private
    preferences.error = NotReady("the service did not answer in time")
    with pytest.raises(NotReady):
        await people.change("ann", private)
    assert (await people.get("ann")).private


async def test_the_list_of_private_people_of_earlier_versions_is_taken_over_once() -> None:
    preferences: Any = MemoryPreferences()
    preferences.kept["private_people", None] = {"users": ["ann", "bob"]}
    preferences.kept["defaults", "bob"] = UserDefaults(aspect="wide").to_value()
    await UserDefaultsStore(preferences).migrate_private_list()
    assert await UserDefaultsStore(preferences).get("ann") == UserDefaults(private=True)
    assert await UserDefaultsStore(preferences).get("bob") == UserDefaults(
        private=True, aspect="wide"
    )
    assert ("private_people", None) not in preferences.kept
    await UserDefaultsStore(preferences).migrate_private_list()
    preferences.kept["private_people", None] = {"users": None}  # there had been too many for a list
    await UserDefaultsStore(preferences).migrate_private_list()
