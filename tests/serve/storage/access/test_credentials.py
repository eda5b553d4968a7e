"""API keys as the database holds them."""

from __future__ import annotations

from sqlalchemy import text

from serve.storage.access.credentials import KeyStore, find_valid
from serve.storage.database import Database


def test_a_secret_is_stored_as_a_hash_and_has_256_bits(keys: KeyStore, database: Database) -> None:
    key, token = keys.create("ann", ["read"])
    prefix, key_id, secret = token.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("csk", key.id, 43)
    assert secret not in repr(key)
    assert secret not in str(key.to_json())
    with database.reading() as connection:
        stored = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert secret not in stored
    assert find_valid(token, {key.id: key}) == key
