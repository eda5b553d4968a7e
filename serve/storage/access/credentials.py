"""Makes, stores and checks API keys, and stores the service's own secrets.

A key's secret is shown once, and only its SHA-256 is stored. A slow password hash would add
nothing: a secret of 256 random bits cannot be guessed, even if each guess is cheap.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import insert, select, update

from cascade_core.errors import Conflict, InvalidRequest, NotFound
from cascade_core.printable import is_printable
from serve.storage.connections import Connections
from serve.storage.records import iso_utc, utc_now
from serve.storage.schema.tables import api_keys, server_secrets

KeyScope = Literal["create", "read", "admin", "trusted", "review", "publish"]
"""``admin`` includes all others; ``trusted`` keys act for end users; those with ``review`` decide
on submitted assets, those with ``publish`` publish and archive them."""

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
DEFAULT_REQUESTS_PER_MINUTE = 600
MAX_NAME_CHARS = 128
MAX_MODELS, MAX_MODEL_CHARS = 64, 256

_SECRET_BYTES = 32
_TOKEN = re.compile(r"csk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key.

    Attributes:
        id: public part of the token; jobs record it as their owner.
        secret_hash: SHA-256 of the secret part, hexadecimal.
        requests_per_minute: 0 means no limit.
        models: ids of those that it may use; None: all of the service.
        last_used_at: accurate to an hour.
    """

    id: str
    name: str
    secret_hash: str
    scopes: frozenset[KeyScope]
    requests_per_minute: int
    models: tuple[str, ...] | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the key's JSON form for operators, without the hash."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": [scope for scope in SCOPES if scope in self.scopes],
            "requests_per_minute": self.requests_per_minute,
            "models": None if self.models is None else list(self.models),
            "created_at": iso_utc(self.created_at),
            "last_used_at": iso_utc(self.last_used_at),
            "revoked_at": iso_utc(self.revoked_at),
        }


class KeyStore:
    """The keys in the database; every method blocks.

    Keys are revoked, never deleted: a service that has ever had a key rejects requests without one.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def create(
        self,
        name: str,
        scopes: Collection[KeyScope],
        requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE,
        models: Sequence[str] | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns the key and its token, which cannot be shown again.

        Args:
            name: of its user or purpose.
            scopes: one or more.
            requests_per_minute: 0 means no limit.
            models: ids of those that it may use; they need not be served yet. None: all.

        Raises:
            InvalidRequest: the name is empty, too long or not printable, there is no scope, or the
                models are none, too many, or no ids.
        """
        if not (name.strip() and is_printable(name) and len(name) <= MAX_NAME_CHARS):
            raise InvalidRequest(f"name must be 1 to {MAX_NAME_CHARS} printable characters", "name")
        if not scopes:
            raise InvalidRequest("a key needs at least one scope", "scope")
        limits: dict[str, Any] = {"requests_per_minute": requests_per_minute}
        if models is not None:
            limits["models"] = _checked_models(models)
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
        values = {
            "id": key_id,
            "name": name,
            "hash": _hashed(secret),
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "limits": limits,
            "created_at": utc_now(),
        }
        with self._connections.writing() as connection:
            connection.execute(insert(api_keys).values(values))
        return self.get(key_id), f"csk_{key_id}_{secret}"

    def get(self, key_id: str) -> ApiKey:
        """Return a key, even if it is revoked.

        Raises:
            NotFound: there is no such key.
        """
        query = select(api_keys).where(api_keys.c.id == key_id)
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"there is no key {key_id}")
        return _key_from(row)

    def all(self) -> list[ApiKey]:
        """Return all keys, oldest first, revoked ones included."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._connections.reading() as connection:
            return [_key_from(row) for row in connection.execute(query).mappings()]

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key; revoking it again is no error.

        Raises:
            NotFound: there is no such key.
        """
        revoked = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        with self._connections.writing() as connection:
            connection.execute(revoked.values(revoked_at=utc_now()))
        return self.get(key_id)

    def touch(self, key_id: str) -> None:
        """Record that a key was used now."""
        used = update(api_keys).where(api_keys.c.id == key_id)
        with self._connections.writing() as connection:
            connection.execute(used.values(last_used_at=utc_now()))


class SecretStore:
    """Secrets of the service itself, such as the one for signing links; every method blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, name: str) -> bytes:
        """Return a secret; the first call makes it, and all processes get the same one."""
        found = self.find(name)
        if found is None:
            made = {"name": name, "value": _new_secret()}
            with suppress(Conflict), self._connections.writing() as connection:
                connection.execute(insert(server_secrets).values(made))
            found = self.find(name)
            assert found is not None
        return found

    def find(self, name: str) -> bytes | None:
        """Return a secret; None if it was not made yet."""
        query = select(server_secrets.c.value).where(server_secrets.c.name == name)
        with self._connections.reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else bytes.fromhex(found)

    def replace(self, name: str) -> None:
        """Replace a secret with a new one."""
        self.get(name)
        change = update(server_secrets).where(server_secrets.c.name == name)
        with self._connections.writing() as connection:
            connection.execute(change.values(value=_new_secret()))


def find_valid(token: str, keys: dict[str, ApiKey]) -> ApiKey | None:
    """Return the key of a token; None if it is malformed, unknown, wrong or revoked.

    All cases do the same work, so that the time of an answer does not reveal which ids exist.
    """
    match = _TOKEN.fullmatch(token)
    key_id, secret = match.groups() if match else ("", "")
    key = keys.get(key_id)
    stored = key.secret_hash if key else _NO_HASH
    is_right = hmac.compare_digest(_hashed(secret), stored)
    if key is None or key.revoked_at is not None or not is_right:
        return None
    return key


def _checked_models(models: Sequence[str]) -> list[str]:
    """Return the ids of models, each once; raises as :meth:`KeyStore.create`."""
    ids = list(dict.fromkeys(models))
    if not 0 < len(ids) <= MAX_MODELS or not all(map(_is_model_id, ids)):
        raise InvalidRequest(f"models must be 1 to {MAX_MODELS} ids of models", "models")
    return ids


def _is_model_id(text: str) -> bool:
    return bool(text.strip()) and is_printable(text) and len(text) <= MAX_MODEL_CHARS


def _new_secret() -> str:
    return secrets.token_hex(_SECRET_BYTES)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key_from(row: Any) -> ApiKey:
    models = row["limits"].get("models")
    return ApiKey(
        id=row["id"],
        name=row["name"],
        secret_hash=row["hash"],
        scopes=frozenset(row["scopes"]),
        requests_per_minute=int(row["limits"].get("requests_per_minute", 0)),
        models=None if models is None else tuple(models),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
