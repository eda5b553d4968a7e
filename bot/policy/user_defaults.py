"""What a person's pictures are like by default; kept in the service by user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from bot.policy.job_request import ASPECTS, Aspect
from bot.service.client import CascadeClient
from bot.service.preferences import Preferences, known_fields

_MOST_PEOPLE = 50_000
_PRIVATE_LIST = "private_people"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDefaults:
    """What somebody's pictures are like unless they say otherwise."""

    aspect: Aspect | None = None
    negative: str = ""
    private: bool = False
    preview: bool = True

    @classmethod
    def from_value(cls, value: dict[str, Any] | None) -> Self:
        """Read what the service keeps."""
        found = cls(**known_fields(cls, value))
        return found if found.aspect in ASPECTS else replace(found, aspect=None)

    def to_value(self) -> dict[str, Any]:
        """Return what the service keeps."""
        return asdict(self)


class UserDefaultsStore:
    """The defaults of all users.

    Args:
        client: of the service, which keeps them.
    """

    def __init__(self, client: CascadeClient) -> None:
        async def load(user: str) -> UserDefaults:
            return UserDefaults.from_value(await client.preference("defaults", user))

        async def store(user: str, defaults: UserDefaults) -> None:
            await client.set_preference("defaults", defaults.to_value(), user)

        self._client = client
        self._preferences = Preferences(load, store, most=_MOST_PEOPLE)

    async def get(self, user: str) -> UserDefaults:
        """Return somebody's defaults."""
        return await self._preferences.get(user)

    async def change(
        self, user: str, change: Callable[[UserDefaults], UserDefaults]
    ) -> UserDefaults:
        """Change a user's defaults, and return what they are now."""
        return await self._preferences.change(user, change)

    async def migrate_private_list(self) -> None:
        """Note the wish of each person on the list that earlier versions kept, and drop the list.

        Raises:
            CascadeError: the service does not answer; to be tried again.
        """
        value = await self._client.preference(_PRIVATE_LIST)
        for user in (value or {}).get("users") or ():
            await self.change(user, lambda defaults: replace(defaults, private=True))
        if value is not None:
            await self._client.delete_preference(_PRIVATE_LIST)
