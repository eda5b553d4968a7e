"""Health, metrics and rules."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio

from bot import health as health_module
from bot import rules as rules_module
from bot.client import CascadeClient
from bot.health import Connection, Health
from bot.metrics import Metrics, route_of
from bot.orders import Order
from bot.replies import Refusal
from bot.results import is_public
from bot.rules import MAX_WORDS, Defaults, GuildRules, People, has_word
from bot.texts import Voice
from bot.ui import panels


class World:
    """What the bot is connected to."""

    def __init__(self) -> None:
        self.connection = Connection(True, 0.05)
        self.service_status = 200

    def answer(self, _request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.service_status, json={"status": "ready"})


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def health(world: World, unused_tcp_port: int) -> AsyncIterator[tuple[Health, str]]:
    client = CascadeClient("http://x", transport=httpx.MockTransport(world.answer))
    health = Health(client, Metrics(), lambda: world.connection)
    await health.start("127.0.0.1", unused_tcp_port)
    yield health, f"http://127.0.0.1:{unused_tcp_port}"
    await health.stop()
    await client.close()


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        await answer.read()
        return answer.status


async def test_health_readiness_and_metrics_are_answered(
    health: tuple[Health, str], world: World
) -> None:
    _, url = health
    assert [await status(f"{url}{path}") for path in ("/healthz", "/readyz", "/metrics")] == [
        200
    ] * 3
    world.connection = Connection(False, math.nan)
    assert await status(f"{url}/readyz") == 503
    assert await status(f"{url}/healthz") == 200  # not yet connected is no reason to restart
    world.connection = Connection(True, 61.0)
    assert await status(f"{url}/healthz") == 503


async def test_a_service_that_was_not_ready_for_long_makes_the_bot_not_ready(
    health: tuple[Health, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, _ = health
    assert watched.problems() == []
    monkeypatch.setattr(health_module, "PROBE_COUNTS_S", -1.0)
    assert watched.problems() == ["the picture service is not ready"]


def test_routes_in_metrics_have_neither_ids_nor_tokens() -> None:
    snowflake, token = "1" * 18, "aW50ZXJhY3Rpb246-_x"
    assert route_of(f"/api/v10/webhooks/{snowflake}/{token}/messages/{snowflake}") == (
        "/api/v10/webhooks/:id/:token/messages/:id"
    )
    assert route_of(f"/api/v10/interactions/{snowflake}/{token}/callback") == (
        "/api/v10/interactions/:id/:token/callback"
    )
    assert route_of(f"/api/v10/webhooks/{snowflake}/{token}") == "/api/v10/webhooks/:id/:token"


@pytest.mark.parametrize(
    ("prompt", "word", "found"),
    [
        ("a Cat on a mat", "cat", True),
        ("concatenate", "cat", False),
        ("two, WORDS here", "two words", True),
        ("two other words", "two words", False),
        ("a c++ book", "c++", True),
        ("Straße", "straße", True),
    ],
)
def test_words_are_found_as_words(prompt: str, word: str, found: bool) -> None:
    assert has_word(prompt, word) is found


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


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://127.0.0.1:8000/a", False),
        ("http://localhost:8000/a", False),
        ("http://cascade:8000/a", False),
        ("http://10.0.0.3/a", False),
        ("http://[::1]/a", False),
        ("https://pictures.example.org/a", True),
        ("http://93.184.216.34/a", True),
    ],
)
def test_only_links_that_others_could_open_are_shown(url: str, public: bool) -> None:
    assert is_public(url) is public
