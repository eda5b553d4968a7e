"""A person's default options; the service stores them as preferences by user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from bot.policy.aspects import ASPECTS, Aspect
from bot.service.client import CascadeClient
from bot.service.preferences import Preferences, known_fields

_MOST_PEOPLE = 50_000
_PRIVATE_LIST = "private_people"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDefaults:
    """A person's options where a command does not give them.

    Attributes:
        aspect: the shape; None: the model's.
        negative: the negative prompt.
        private: show pictures to the person alone.
        preview: show previews during a job.
    """

    aspect: Aspect | None = None
    negative: str = ""
    private: bool = False
    preview: bool = True

    @classmethod
    def from_value(cls, value: dict[str, Any] | None) -> Self:
        """Build from the stored preference; an unknown shape becomes None."""
        found = cls(**known_fields(cls, value))
        return found if found.aspect in ASPECTS else replace(found, aspect=None)

    def to_value(self) -> dict[str, Any]:
        """Return the preference to store."""
        return asdict(self)


class UserDefaultsStore:
    """The defaults of all users.

    Args:
        client: the client of the service that stores them.
    """

    def __init__(self, client: CascadeClient) -> None:
        async def load(user: str) -> UserDefaults:
            return UserDefaults.from_value(await client.preference("defaults", user))

        async def store(user: str, defaults: UserDefaults) -> None:
            await client.set_preference("defaults", defaults.to_value(), user)

        self._client = client
        self._preferences = Preferences(load, store, most=_MOST_PEOPLE)

    async def get(self, user: str) -> UserDefaults:
        """Return a user's defaults."""
        return await self._preferences.get(user)

    async def change(
        self, user: str, change: Callable[[UserDefaults], UserDefaults]
    ) -> UserDefaults:
        """Change a user's defaults and return the new ones."""
        return await self._preferences.change(user, change)

    async def migrate_private_list(self) -> None:
        """Move the list of private users of earlier versions into the users' own defaults.

        Raises:
            CascadeError: the service does not answer; the call may be repeated.
        """
        value = await self._client.preference(_PRIVATE_LIST)
        for user in (value or {}).get("users") or ():
            await self.change(user, lambda defaults: replace(defaults, private=True))
        if value is not None:
            await self._client.delete_preference(_PRIVATE_LIST)
