"""What a server's admins allow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.policy import guild_rules
from bot.policy.guild_rules import MAX_CHANNELS, MAX_WORDS, GuildRules, GuildRulesStore, words_of
from bot.policy.job_request import JobRequest
from bot.text.catalog import Translator
from bot.text.error_messages import UserError, error_message
from bot.views import info_messages
from tests.bot.memory_preferences import MemoryPreferences


def refusal(rules: GuildRules, request: JobRequest, is_adult: bool = False) -> UserError | None:
    try:
        rules.check(request, (1,), is_adult)
    except UserError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("prompt", "negative_prompt"),
    [("two c-a-t-s", ""), ("a dog", "c\u0430t"), ("a dog", "no CATS, please")],
)
def test_a_blocked_word_is_refused_in_both_texts_however_it_is_written(
    prompt: str, negative_prompt: str
) -> None:
    request = JobRequest(prompt=prompt, negative_prompt=negative_prompt)
    assert refusal(GuildRules(words=("cat",)), request) == UserError.because(
        "blocked_word", word="cat"
    )
    adult = GuildRules(adult_words=("cat",))
    assert refusal(adult, request) == UserError.because("adult_word", word="cat")
    assert refusal(adult, request, is_adult=True) is None
    assert refusal(GuildRules(words=("bird",)), request) is None


def test_the_words_of_a_series_are_those_of_its_filled_template() -> None:
    variants = [{"what": "dog"}, {"what": "at"}]
    series = JobRequest(prompt="a c{what}", variants=variants, n=2)
    refused = UserError.because("blocked_word", word="cat")
    assert refusal(GuildRules(words=("cat",)), series) == refused
    assert refusal(GuildRules(words=("what",)), series) is None
    few = UserError.because("too_many_variants", count=1)
    assert refusal(GuildRules(max_images=1), series) == few
    assert refusal(GuildRules(max_images=2), series) is None


def test_words_that_were_stored_before_are_safe_and_can_be_removed() -> None:
    stored = GuildRules.from_value({"words": ["!", "! ! ! ! ! ! a"]})
    assert refusal(stored, JobRequest(prompt="!" * 1000)) is None
    assert stored.with_words("", "!, ! ! ! ! ! ! a", False) == GuildRules()


def test_a_word_without_anything_to_look_for_is_not_taken() -> None:
    assert words_of("! !, ok, ***, Cat , 🍆, cat") == ["ok", "cat", "🍆"]


def test_a_blocked_word_formats_nothing_where_it_is_told(translate: Translator) -> None:
    found = refusal(GuildRules(words=("@everyone *x*",)), JobRequest(prompt="everyone x"))
    assert found is not None
    assert r"\@everyone \*x\*" in error_message(found, translate, "")


def test_rules_survive_their_way_through_the_service_and_unknown_ones_are_passed_over() -> None:
    rules = GuildRules(max_images=2, words=("a", "b"), channels=(1, 2))
    assert GuildRules.from_value(rules.to_value() | {"later": 1}) == rules
    assert GuildRules.from_value(None) == GuildRules()


async def test_changes_of_the_rules_by_two_admins_at_once_are_both_kept() -> None:
    preferences: Any = MemoryPreferences()
    rules = GuildRulesStore(preferences)
    await asyncio.gather(
        rules.change(7, lambda before: replace(before, max_images=2)),
        rules.change(7, lambda before: before.with_words("cat", "", False)),
    )
    assert await GuildRulesStore(preferences).get(7) == GuildRules(max_images=2, words=("cat",))


async def test_rules_are_remembered_for_a_bounded_number_of_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guild_rules, "_MOST_GUILDS", 2)
    preferences: Any = MemoryPreferences()
    rules = GuildRulesStore(preferences)
    for guild_id in (1, 2, 1, 3, 1):
        await rules.get(guild_id)
    assert preferences.asked == 3
    await rules.get(2)
    assert preferences.asked == 4


def test_the_channel_after_the_last_one_is_refused_instead_of_dropped() -> None:
    rules = GuildRules(channels=tuple(range(1, MAX_CHANNELS + 1)))
    with pytest.raises(UserError) as caught:
        rules.with_channels(999, None)
    assert caught.value == UserError("admin.channels_full", (("most", MAX_CHANNELS),))
    assert 999 in rules.with_channels(999, 1).channels
    assert rules.with_channels(7, None).channels != ()
    assert 7 not in rules.with_channels(None, 7).channels


def test_a_word_is_on_one_list_and_lists_have_an_end() -> None:
    rules = GuildRules().with_words("Cat, dog , cat,", "", False)
    assert rules.words == ("cat", "dog")
    rules = rules.with_words("dog", "", True)
    assert (rules.words, rules.adult_words) == (("cat",), ("dog",))
    assert rules.with_words("", "dog,cat", False) == GuildRules()
    with pytest.raises(UserError):
        rules.with_words(",".join(f"w{number}" for number in range(MAX_WORDS)), "", False)


def test_a_thread_counts_as_the_channel_around_it() -> None:
    rules = GuildRules(channels=(7,))
    rules.check(JobRequest(prompt="x"), (99, 7), False)
    with pytest.raises(UserError):
        rules.check(JobRequest(prompt="x"), (99,), False)


async def test_a_full_blocklist_still_fits_into_a_message(translate: Translator) -> None:
    words = tuple(f"{'w' * 50}{number}" for number in range(MAX_WORDS))
    layout = info_messages.rules(
        translate, GuildRules(words=words, adult_words=words, channels=(1,) * 100)
    )
    assert layout.content_length() <= 4000
