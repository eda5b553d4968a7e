"""The message with the picture that a person starts from, kept while the form is open.

A form tells only its own id when it is submitted, and the bot may not read other people's messages.
So the service stores what the form will need, as a preference of the person.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bot.service.client import CascadeClient
from bot.service.preferences import Preferences, known_fields
from bot.text.error_messages import UserError

_NAME = "starts"
_MOST = 3
"""Messages that are noted for a person, the newest ones: three of ten addresses fit in 16 KiB."""
_MOST_PEOPLE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMessage:
    """A message with pictures to start from.

    Attributes:
        id: the message's.
        job_id: the job whose pictures the bot shows there; empty for a message of another author.
        pictures: the indices of the job's pictures, or the addresses of the attachments.
        link: to the message; empty if only the person can open it.
        private: only the person sees the message.
        spoiler: the pictures are hidden until they are clicked.
    """

    id: str
    job_id: str = ""
    pictures: tuple[str, ...] = ()
    link: str = ""
    private: bool = False
    spoiler: bool = False

    def picture(self, which: str) -> str:
        """Return the picture at a position, which may be left out if there is one.

        Raises:
            UserError: there is none.
        """
        place = int(which) if which.isdecimal() else 0
        if place >= len(self.pictures):
            raise UserError.because("picture_gone")
        return self.pictures[place]


class StartMessageStore:
    """The messages that people have a form open for.

    Args:
        client: the client of the service that stores them.
    """

    def __init__(self, client: CascadeClient) -> None:
        async def load(user: str) -> tuple[StartMessage, ...]:
            value = await client.preference(_NAME, user)
            return tuple(map(_from_value, (value or {}).get("messages", ())))

        async def store(user: str, messages: tuple[StartMessage, ...]) -> None:
            value = {"messages": [asdict(message) for message in messages]}
            await client.set_preference(_NAME, value, user)

        self._preferences = Preferences(load, store, most=_MOST_PEOPLE)

    async def note(self, user: str, message: StartMessage) -> None:
        """Note a message; the oldest one is forgotten.

        Raises:
            CascadeError: the service does not answer.
        """

        def change(noted: tuple[StartMessage, ...]) -> tuple[StartMessage, ...]:
            others = [one for one in noted if one.id != message.id]
            return (*others, message)[-_MOST:]

        await self._preferences.change(user, change)

    async def find(self, user: str, message_id: str) -> StartMessage:
        """Return a noted message.

        Raises:
            UserError: it was forgotten.
            CascadeError: the service does not answer.
        """
        for message in await self._preferences.get(user):
            if message.id == message_id:
                return message
        raise UserError.because("form_forgotten")


def _from_value(value: dict[str, Any]) -> StartMessage:
    known = known_fields(StartMessage, value)
    return StartMessage(**known | {"pictures": tuple(known["pictures"])})
