"""Links to one image that work without an API key, until they expire.

A link carries its expiry and an HMAC-SHA256 over image id and expiry. The secret is made on first
use and kept in the database, so that all gateways agree and a restart changes nothing. Deleting the
image ends its links; nothing else takes a single one back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlencode

from sqlalchemy import insert, select

from cascade_core.errors import Conflict, Forbidden
from serve.db import Database
from serve.tables import server_secrets

SHARED_FOLDER = "/v1/shared/"

_SECRET_NAME = "share"
_SECRET_BYTES = 32
_MAX_EXPIRY_DIGITS = 12


class ShareLinks:
    """Makes and checks links; every method blocks the first time, when it reads the secret.

    Args:
        database: where the secret is.
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._secret = b""

    def make(self, base_url: str, image_id: str, expires_in_s: int) -> tuple[str, datetime]:
        """Return a link to an image, and when it expires.

        Args:
            base_url: how clients reach the service.
            image_id: which image; that it may be shared is the caller's business.
            expires_in_s: seconds from now.
        """
        expires = str(int(self._clock()) + expires_in_s)
        query = urlencode({"expires": expires, "signature": self._sign(image_id, expires)})
        url = f"{base_url.rstrip('/')}{SHARED_FOLDER}{image_id}?{query}"
        return url, datetime.fromtimestamp(int(expires), UTC)

    def check(self, image_id: str, expires: str, signature: str) -> None:
        """Check that a link was made here and is still valid.

        Raises:
            Forbidden: it was not, or it has expired.
        """
        wanted = self._sign(image_id, expires).encode()
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), wanted):
            raise Forbidden("this link is not valid")
        if len(expires) > _MAX_EXPIRY_DIGITS or int(expires) <= self._clock():
            raise Forbidden("this link has expired")

    def _sign(self, image_id: str, expires: str) -> str:
        if not self._secret:
            self._secret = _read_secret(self._database)
        text = f"{image_id}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def _read_secret(database: Database) -> bytes:
    """Return the secret; whoever comes first makes it, and all others get that one."""
    query = select(server_secrets.c.value).where(server_secrets.c.name == _SECRET_NAME)
    made = {"name": _SECRET_NAME, "value": secrets.token_hex(_SECRET_BYTES)}
    with database.reading() as connection:
        found = connection.execute(query).scalar()
    if found is None:
        with suppress(Conflict), database.writing() as connection:
            connection.execute(insert(server_secrets).values(made))
        with database.reading() as connection:
            found = connection.execute(query).scalar_one()
    return bytes.fromhex(found)
