"""What a server's admins allow, and what people like by default; kept in the service by name."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

from bot.client import CascadeClient
from bot.markdown import escape, one_line
from bot.orders import ASPECTS, Aspect, Order
from bot.replies import Refusal
from cascade_core.word_filter import WordFilter, is_phrase

MAX_WORDS = 200
MAX_WORD_CHARS = 60
MAX_CHANNELS = 100
_FRESH_S = 60.0
_REMEMBERED = 50_000
_PRIVATE_LIST = "private_people"
_MAX_LISTED = 400
"""Of about 30 characters each; the service keeps 16 KB under one name."""


@dataclass(frozen=True, kw_only=True)
class GuildRules:
    """A server's rules; zero and empty mean no limit.

    Attributes:
        max_images, max_steps: for one order.
        max_open: jobs under way per person.
        words: that neither prompts nor negative prompts may have, see
            :mod:`cascade_core.word_filter`.
        adult_words: that they may have in age-restricted channels only.
        channels: where pictures may be made.
    """

    max_images: int = 0
    max_steps: int = 0
    max_open: int = 0
    words: tuple[str, ...] = ()
    adult_words: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()

    def check(self, order: Order, channel_ids: tuple[int, ...], is_adult: bool) -> None:
        """Check an order.

        Args:
            order: what is asked for.
            channel_ids: where: the channel, and for a thread the channel around it.
            is_adult: that channel is age-restricted.

        Raises:
            Refusal: the first rule that it breaks.
        """
        if self.channels and not set(channel_ids) & set(self.channels):
            named = ", ".join(f"<#{channel}>" for channel in self.channels[:5])
            raise Refusal.because("channel", channels=named)
        if self.max_images and order.n > self.max_images:
            raise Refusal.because("too_many_images", most=self.max_images)
        if self.max_steps and (order.steps or 0) > self.max_steps:
            raise Refusal.because("too_many_steps", most=self.max_steps)
        for text in (order.prompt, order.negative_prompt):
            found = self._blocked.first_in(text)
            if found is not None:
                raise Refusal.because("blocked_word", word=escape(self.words[found]))
            found = None if is_adult else self._blocked_elsewhere.first_in(text)
            if found is not None:
                raise Refusal.because("adult_word", word=escape(self.adult_words[found]))

    @cached_property
    def _blocked(self) -> WordFilter:
        return WordFilter(self.words)

    @cached_property
    def _blocked_elsewhere(self) -> WordFilter:
        return WordFilter(self.adult_words)

    def with_words(self, add: str, remove: str, is_adult: bool) -> GuildRules:
        """Return the rules with words added and removed, each given with commas between.

        What is added but has nothing to look for is left out.

        Raises:
            Refusal: there would be too many.
        """
        name = "adult_words" if is_adult else "words"
        removed, added = _parts(remove), words_of(add)
        rules = self
        for list_name in ("words", "adult_words"):
            kept = [word for word in getattr(rules, list_name) if word not in removed + added]
            rules = replace(rules, **{list_name: tuple(kept)})  # type: ignore[arg-type]
        changed = (*getattr(rules, name), *added)
        if len(changed) > MAX_WORDS:
            raise Refusal("admin.blocklist_full")
        return replace(rules, **{name: changed})  # type: ignore[arg-type]

    @classmethod
    def from_value(cls, value: dict[str, Any] | None) -> Self:
        """Read what the service keeps."""
        return cls(**{name: _tuple(item) for name, item in _known(cls, value).items()})

    def to_value(self) -> dict[str, Any]:
        """Return what the service keeps."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What somebody's pictures are like unless they say otherwise."""

    aspect: Aspect | None = None
    negative: str = ""
    private: bool = False
    preview: bool = True

    @classmethod
    def from_value(cls, value: dict[str, Any] | None) -> Self:
        """Read what the service keeps."""
        found = cls(**_known(cls, value))
        return found if found.aspect in ASPECTS else replace(found, aspect=None)

    def to_value(self) -> dict[str, Any]:
        """Return what the service keeps."""
        return asdict(self)


class Rules:
    """The rules of all servers, each asked for again every minute.

    Args:
        client: of the service, which keeps them.
    """

    def __init__(self, client: CascadeClient) -> None:
        self._client = client
        self._known: dict[int, tuple[float, GuildRules]] = {}

    async def of(self, guild_id: int | None) -> GuildRules:
        """Return a server's rules; there are none outside of servers."""
        if guild_id is None:
            return GuildRules()
        known = self._known.get(guild_id)
        if known is None or time.monotonic() - known[0] > _FRESH_S:
            value = await self._client.preference(f"guild.{guild_id}")
            known = self._known[guild_id] = (time.monotonic(), GuildRules.from_value(value))
        return known[1]

    async def change(self, guild_id: int, rules: GuildRules) -> None:
        """Keep a server's rules."""
        await self._client.set_preference(f"guild.{guild_id}", rules.to_value())
        self._known[guild_id] = (time.monotonic(), rules)


class People:
    """Everybody's defaults; those who like to be answered alone are known from the start.

    Args:
        client: of the service, which keeps them.
    """

    def __init__(self, client: CascadeClient) -> None:
        self._client = client
        self._seen: OrderedDict[str, Defaults] = OrderedDict()
        self._private: frozenset[str] | None = None

    async def learn(self) -> None:
        """Hear who likes to be answered alone; where those are too many, each is asked for."""
        value = await self._client.preference(_PRIVATE_LIST)
        self._set_private((value or {}).get("users", []))

    def likes_private(self, user: str) -> bool | None:
        """Tell whether somebody likes to be answered alone; asks nobody. None: not known here."""
        seen = self._seen.get(user)
        if seen is not None:
            return seen.private
        return None if self._private is None else user in self._private

    async def of(self, user: str) -> Defaults:
        """Return somebody's defaults."""
        found = self._seen.get(user)
        if found is None:
            found = Defaults.from_value(await self._client.preference("defaults", user))
            self._remember(user, found)
        return found

    async def change(self, user: str, defaults: Defaults) -> None:
        """Keep somebody's defaults."""
        # On the list first and off it last: whatever fails in between shows nothing to others.
        if defaults.private:
            await self._list(user, True)
        await self._client.set_preference("defaults", defaults.to_value(), user)
        if not defaults.private:
            await self._list(user, False)
        self._remember(user, defaults)

    async def _list(self, user: str, is_private: bool) -> None:
        value = await self._client.preference(_PRIVATE_LIST)
        before = (value or {}).get("users", [])
        if before is None or (user in before) == is_private:
            return
        after = [*before, user] if is_private else [one for one in before if one != user]
        kept = after if len(after) <= _MAX_LISTED else None
        await self._client.set_preference(_PRIVATE_LIST, {"users": kept})
        self._set_private(kept)

    def _set_private(self, users: list[str] | None) -> None:
        self._private = None if users is None else frozenset(users)

    def _remember(self, user: str, defaults: Defaults) -> None:
        self._seen[user] = defaults
        self._seen.move_to_end(user)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def words_of(text: str) -> list[str]:
    """Return the words and phrases of a list with commas between, each once."""
    return list(filter(is_phrase, _parts(text)))


def _parts(text: str) -> list[str]:
    parts = (one_line(part).lower()[:MAX_WORD_CHARS].strip() for part in text.split(","))
    return list(dict.fromkeys(filter(None, parts)))


def _known(cls: type, value: dict[str, Any] | None) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: item for name, item in (value or {}).items() if name in names}


def _tuple(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item
