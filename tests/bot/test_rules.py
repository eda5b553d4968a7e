"""What a server's admins allow, and what people like."""

from __future__ import annotations

from typing import Any

import pytest

from bot import rules as rules_module
from bot.orders import Order
from bot.replies import Refusal, sentence
from bot.rules import MAX_WORDS, Defaults, GuildRules, People, words_of
from bot.texts import Voice
from bot.ui import panels


def refusal(rules: GuildRules, order: Order, is_adult: bool = False) -> Refusal | None:
    try:
        rules.check(order, (1,), is_adult)
    except Refusal as error:
        return error
    return None


@pytest.mark.parametrize(
    ("prompt", "negative_prompt"),
    [("two c-a-t-s", ""), ("a dog", "c\u0430t"), ("a dog", "no CATS, please")],
)
def test_a_blocked_word_is_refused_in_both_texts_however_it_is_written(
    prompt: str, negative_prompt: str
) -> None:
    order = Order(prompt=prompt, negative_prompt=negative_prompt)
    assert refusal(GuildRules(words=("cat",)), order) == Refusal.because("blocked_word", word="cat")
    adult = GuildRules(adult_words=("cat",))
    assert refusal(adult, order) == Refusal.because("adult_word", word="cat")
    assert refusal(adult, order, is_adult=True) is None
    assert refusal(GuildRules(words=("bird",)), order) is None


def test_words_that_were_stored_before_are_safe_and_can_be_removed() -> None:
    stored = GuildRules.from_value({"words": ["!", "! ! ! ! ! ! a"]})
    assert refusal(stored, Order(prompt="!" * 1000)) is None
    assert stored.with_words("", "!, ! ! ! ! ! ! a", False) == GuildRules()


def test_a_word_without_anything_to_look_for_is_not_taken() -> None:
    assert words_of("! !, ok, ***, Cat , 🍆, cat") == ["ok", "cat", "🍆"]


def test_a_blocked_word_formats_nothing_where_it_is_told(voice: Voice) -> None:
    found = refusal(GuildRules(words=("@everyone *x*",)), Order(prompt="everyone x"))
    assert found is not None
    assert r"\@everyone \*x\*" in sentence(found, voice, "")


def test_rules_survive_their_way_through_the_service_and_unknown_ones_are_passed_over() -> None:
    rules = GuildRules(max_images=2, words=("a", "b"), channels=(1, 2))
    assert GuildRules.from_value(rules.to_value() | {"later": 1}) == rules
    assert GuildRules.from_value(None) == GuildRules()
    defaults = Defaults(aspect="wide", private=True)
    assert Defaults.from_value(defaults.to_value()) == defaults
    assert Defaults.from_value({"aspect": "round"}) == Defaults()


class Shelf:
    """Keeps preferences as the service does."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str | None], dict[str, Any]] = {}

    async def preference(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        return self.kept.get((name, user))

    async def set_preference(
        self, name: str, value: dict[str, Any], user: str | None = None
    ) -> None:
        self.kept[name, user] = value


async def test_who_likes_it_private_is_known_from_the_start() -> None:
    shelf: Any = Shelf()
    before = People(shelf)
    assert before.likes_private("ann") is None
    await before.change("ann", Defaults(private=True))
    await before.change("bob", Defaults(aspect="wide"))
    after = People(shelf)
    assert after.likes_private("ann") is None
    await after.learn()
    assert [after.likes_private(user) for user in ("ann", "bob", "cem")] == [True, False, False]
    await after.change("ann", Defaults())
    again = People(shelf)
    await again.learn()
    assert again.likes_private("ann") is False


async def test_a_list_that_is_full_makes_each_one_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules_module, "_MAX_LISTED", 1)
    shelf: Any = Shelf()
    people = People(shelf)
    for user in ("ann", "bob"):
        await people.change(user, Defaults(private=True))
    fresh = People(shelf)
    await fresh.learn()
    assert fresh.likes_private("cem") is None
    assert (await fresh.of("ann")).private


def test_a_word_is_on_one_list_and_lists_have_an_end() -> None:
    rules = GuildRules().with_words("Cat, dog , cat,", "", False)
    assert rules.words == ("cat", "dog")
    rules = rules.with_words("dog", "", True)
    assert (rules.words, rules.adult_words) == (("cat",), ("dog",))
    assert rules.with_words("", "dog,cat", False) == GuildRules()
    with pytest.raises(Refusal):
        rules.with_words(",".join(f"w{number}" for number in range(MAX_WORDS)), "", False)


def test_a_thread_counts_as_the_channel_around_it() -> None:
    rules = GuildRules(channels=(7,))
    rules.check(Order(prompt="x"), (99, 7), False)
    with pytest.raises(Refusal):
        rules.check(Order(prompt="x"), (99,), False)


async def test_a_full_blocklist_still_fits_into_a_message(voice: Voice) -> None:
    words = tuple(f"{'w' * 50}{number}" for number in range(MAX_WORDS))
    layout = panels.rules(voice, GuildRules(words=words, adult_words=words, channels=(1,) * 100))
    assert layout.content_length() <= 4000
