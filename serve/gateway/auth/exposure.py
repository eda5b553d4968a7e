"""Checks before the start whether other machines can reach the service."""

from __future__ import annotations

from cascade_core.errors import SettingsInvalid
from cascade_core.service_url import is_loopback
from serve.proxies import haproxy
from serve.settings import Settings
from serve.storage.database import Database

MAKE_A_KEY = "cascade keys create NAME"
KEYLESS = f"this machine only, without keys (to let others in: {MAKE_A_KEY})"
ALL_KEYS_REVOKED = "no callers, as every API key is revoked"
"""Without a valid key even this machine is refused: a service that has ever had a key needs one."""


def check_exposure(settings: Settings) -> str:
    """Return one sentence that says which callers are answered.

    Raises:
        SettingsInvalid: there are no API keys, and the service would listen beyond this machine or
            could not tell its callers apart. No setting allows that.
        NotReady: the database does not answer.
        DatabaseNewer: a later release has migrated the database.
    """
    database = Database(settings.database_url)
    try:
        database.create_tables()
        keys = database.keys.all()
    finally:
        database.close()
    if keys:
        valid = sum(key.revoked_at is None for key in keys)
        return f"callers with an API key ({valid} valid)" if valid else ALL_KEYS_REVOKED
    if not is_loopback(settings.http_host):
        raise SettingsInvalid(
            f"there are no API keys, so {settings.http_host} would let every client in: make one "
            f"with '{MAKE_A_KEY}', or listen on 127.0.0.1"
        )
    if haproxy.is_on():
        raise SettingsInvalid(
            "there are no API keys, and behind HAProxy (RAY_SERVE_ENABLE_HA_PROXY) the service "
            f"cannot tell this machine's requests from others: make one with '{MAKE_A_KEY}'"
        )
    return KEYLESS
