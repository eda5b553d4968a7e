"""Links to one image that work without an API key, until they expire.

A link holds its expiry, the id of the key that made it, and an HMAC-SHA256 over all its parts. The
secret is made on first use and kept in the database, so that all gateways share it and a restart
keeps it. A link ends with its image and with its key; a new secret ends all links. To end those of
one image, its links get a random part, which is stored: links without it, or with an earlier one,
are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from cascade_core.errors import Forbidden
from serve.storage.database import Database

SHARED_FOLDER = "/v1/shared/"
SECRET_CACHE_S = 2.0
"""Within this time a new secret is known to every process."""

_VERSION, _VERSION_WITH_ROUND = "share/v1", "share/v2"
_SECRET_NAME = "share"
_MAX_EXPIRY_DIGITS = 12
_ROUND_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The parts of a link, as they stand in its address.

    Attributes:
        expires: seconds since 1970.
        key: the id of the API key that made it; empty: made without keys.
        metadata: ``none``: the image is sent without its metadata.
        round: the random part of links that were made after others to the image were ended.
    """

    image_id: str
    expires: str
    key: str = ""
    metadata: str = ""
    round: str = ""

    @property
    def text(self) -> bytes:
        """Return the signed text; no part of a link that was made here has a line feed."""
        parts = [_VERSION, self.image_id, self.expires, self.key, self.metadata]
        if self.round:
            parts = [_VERSION_WITH_ROUND, *parts[1:], self.round]
        return "\n".join(parts).encode("utf-8", "replace")


class ShareLinks:
    """Makes and checks links.

    Args:
        database: where the secret is.
        is_valid_key: returns True if an API key is not revoked.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        is_valid_key: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._is_valid_key = is_valid_key
        self._clock = clock
        self._secret = b""
        self._read_at_s = -SECRET_CACHE_S
        self._reading = asyncio.Lock()

    async def make(
        self, image_id: str, expires_in_s: int, key_id: str | None, *, has_metadata: bool = True
    ) -> tuple[str, datetime]:
        """Return the path and query of a link to an image, and when it expires.

        Args:
            image_id: the image; the caller has checked that it may be shared.
            expires_in_s: seconds from now.
            key_id: of the API key that makes the link; the link ends with the key.
            has_metadata: send the image with its metadata.
        """
        expires = str(int(self._clock()) + expires_in_s)
        link = Link(
            image_id=image_id,
            expires=expires,
            key=key_id or "",
            metadata="" if has_metadata else "none",
            round=await self._round(image_id),
        )
        parts = {name: getattr(link, name) for name in ("expires", "key", "metadata", "round")}
        query = {name: value for name, value in parts.items() if value}
        query["signature"] = await self._sign(link)
        expires_at = datetime.fromtimestamp(int(expires), UTC)
        return f"{SHARED_FOLDER}{image_id}?{urlencode(query)}", expires_at

    async def check(self, link: Link, signature: str) -> None:
        """Check that a link was made here and is still valid.

        Raises:
            Forbidden: it was not, it has expired or was ended, or its key was revoked.
            NotReady: the database does not answer.
        """
        wanted = (await self._sign(link)).encode()
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), wanted):
            raise Forbidden("this link is not valid")
        if len(link.expires) > _MAX_EXPIRY_DIGITS or int(link.expires) <= self._clock():
            raise Forbidden("this link has expired")
        if link.key and not await self._is_valid_key(link.key):
            raise Forbidden("this link has ended: the API key that made it was revoked")
        if link.round != await self._round(link.image_id):
            raise Forbidden("this link has ended: the picture's owner has ended all links to it")

    async def end(self, image_id: str) -> None:
        """End the links to an image; those that are made from now on are valid."""
        await self._database.run(self._database.secrets.replace, _round_name(image_id))

    async def _round(self, image_id: str) -> str:
        found = await self._database.run(self._database.secrets.find, _round_name(image_id))
        return (found or b"")[:_ROUND_BYTES].hex()

    async def _sign(self, link: Link) -> str:
        async with self._reading:
            if time.monotonic() - self._read_at_s >= SECRET_CACHE_S:
                self._secret = await self._database.run(self._database.secrets.get, _SECRET_NAME)
                self._read_at_s = time.monotonic()
        return hmac.new(self._secret, link.text, hashlib.sha256).hexdigest()


def _round_name(image_id: str) -> str:
    """Return the name under which an image's random part is stored; ids may be too long for one."""
    return f"links {hashlib.sha256(image_id.encode()).hexdigest()[:26]}"


def end_all_links(database: Database) -> None:
    """Replace the secret, which ends every link that was made before."""
    database.secrets.replace(_SECRET_NAME)
