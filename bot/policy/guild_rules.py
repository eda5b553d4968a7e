"""The rules that a server's admins set; the service stores them as preferences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

from bot.policy.job_request import JobRequest
from bot.service.client import CascadeClient
from bot.service.preferences import Preferences, known_fields
from bot.text.error_messages import UserError
from bot.text.markdown import escape, one_line
from cascade_core.word_filter import WordFilter, is_phrase

MAX_WORDS = 200
MAX_WORD_CHARS = 60
MAX_CHANNELS = 100
_FRESH_S = 60.0
_MOST_GUILDS = 5_000


@dataclass(frozen=True, kw_only=True)
class GuildRules:
    """A server's rules; zero and empty mean no limit.

    Attributes:
        max_images, max_steps: limits of one request.
        max_open: open jobs per person.
        words: blocked in prompts and negative prompts; see :mod:`cascade_core.word_filter`.
        adult_words: blocked outside age-restricted channels.
        channels: ids of the channels where pictures may be made.
        approval_channel: id of the channel where submitted pictures are decided on.
        approval_role: id of the role that decides; without one, all that may manage the server.
    """

    max_images: int = 0
    max_steps: int = 0
    max_open: int = 0
    words: tuple[str, ...] = ()
    adult_words: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    approval_channel: int = 0
    approval_role: int = 0

    def check(self, request: JobRequest, channel_ids: tuple[int, ...], is_adult: bool) -> None:
        """Check a request.

        Args:
            request: the request.
            channel_ids: the channel, and for a thread also its parent channel.
            is_adult: the channel is age-restricted.

        Raises:
            UserError: the request breaks a rule; the first one is named.
        """
        if self.channels and not set(channel_ids) & set(self.channels):
            named = ", ".join(f"<#{channel}>" for channel in self.channels[:5])
            raise UserError.because("channel", channels=named)
        if self.max_images and request.n > self.max_images:
            key = "too_many_images" if request.variants is None else "too_many_variants"
            raise UserError.because(key, count=self.max_images)
        if self.max_steps and (request.steps or 0) > self.max_steps:
            raise UserError.because("too_many_steps", count=self.max_steps)
        for text in (*request.prompts, request.negative_prompt):
            found = self._blocked.first_in(text)
            if found is not None:
                raise UserError.because("blocked_word", word=escape(self.words[found]))
            found = None if is_adult else self._blocked_elsewhere.first_in(text)
            if found is not None:
                raise UserError.because("adult_word", word=escape(self.adult_words[found]))

    @cached_property
    def _blocked(self) -> WordFilter:
        return WordFilter(self.words)

    @cached_property
    def _blocked_elsewhere(self) -> WordFilter:
        return WordFilter(self.adult_words)

    def with_words(self, add: str, remove: str, is_adult: bool) -> GuildRules:
        """Return the rules with words added and removed.

        Args:
            add: words separated by commas; words without letters or symbols to match are dropped.
            remove: words separated by commas.
            is_adult: change the list for channels that are not age-restricted.

        Raises:
            UserError: the list would be too long.
        """
        name = "adult_words" if is_adult else "words"
        removed, added = _parts(remove), words_of(add)
        rules = self
        for list_name in ("words", "adult_words"):
            kept = [word for word in getattr(rules, list_name) if word not in removed + added]
            rules = replace(rules, **{list_name: tuple(kept)})  # type: ignore[arg-type]
        changed = (*getattr(rules, name), *added)
        if len(changed) > MAX_WORDS:
            raise UserError("admin.blocklist_full")
        return replace(rules, **{name: changed})  # type: ignore[arg-type]

    def with_channels(self, allow: int | None, forbid: int | None) -> GuildRules:
        """Return the rules with one channel added to the list and one removed.

        Raises:
            UserError: the list would be too long.
        """
        channels = [channel for channel in self.channels if channel not in (allow, forbid)]
        if allow is not None:
            channels.append(allow)
        if len(channels) > MAX_CHANNELS:
            raise UserError("admin.channels_full", (("most", MAX_CHANNELS),))
        return replace(self, channels=tuple(channels))

    @classmethod
    def from_value(cls, value: dict[str, Any] | None) -> Self:
        """Build from the stored preference."""
        return cls(**{name: _tuple(item) for name, item in known_fields(cls, value).items()})

    def to_value(self) -> dict[str, Any]:
        """Return the preference to store."""
        return asdict(self)


class GuildRulesStore:
    """The rules of all servers; each is loaded again after a minute.

    Args:
        client: the client of the service that stores them.
    """

    def __init__(self, client: CascadeClient) -> None:
        async def load(guild_id: int) -> GuildRules:
            return GuildRules.from_value(await client.preference(f"guild.{guild_id}"))

        async def store(guild_id: int, rules: GuildRules) -> None:
            await client.set_preference(f"guild.{guild_id}", rules.to_value())

        self._preferences = Preferences(load, store, fresh_s=_FRESH_S, most=_MOST_GUILDS)

    async def get(self, guild_id: int | None) -> GuildRules:
        """Return a server's rules; outside of servers there are none."""
        return GuildRules() if guild_id is None else await self._preferences.get(guild_id)

    async def change(self, guild_id: int, change: Callable[[GuildRules], GuildRules]) -> GuildRules:
        """Change a server's rules and return the new ones."""
        return await self._preferences.change(guild_id, change)


def words_of(text: str) -> list[str]:
    """Return the distinct words and phrases of a list separated by commas."""
    return list(filter(is_phrase, _parts(text)))


def _parts(text: str) -> list[str]:
    parts = (one_line(part).lower()[:MAX_WORD_CHARS].strip() for part in text.split(","))
    return list(dict.fromkeys(filter(None, parts)))


def _tuple(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item
