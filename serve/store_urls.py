"""The URLs of databases and blob stores: which are valid, the default ones, and their passwords."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
# No memory:// here: each replica is a separate process and would have a separate, empty store.
BLOB_SCHEMES = ("file", "s3", "s3a", "gs", "az", "abfs", "abfss")


def check_store_url(name: str, url: str) -> None:
    """Check that the URL of a setting is valid, and names a file where it needs one.

    Raises:
        ValueError: it is not, or names none.
    """
    allowed = BLOB_SCHEMES if name == "blob_url" else DATABASE_SCHEMES
    if url.partition("://")[0] not in allowed or "://" not in url:
        raise ValueError(f"must be a URL that starts with one of {', '.join(allowed)}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:  # its message may contain the password
        raise ValueError("must be a URL; % and [ in a password are written %25 and %5B") from error
    if parts.scheme == "sqlite" and parts.path.lstrip("/") in ("", ":memory:"):
        # All processes use one database.
        raise ValueError("must name a file, such as sqlite:////var/lib/cascade/cascade.db")
    if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or parts.path == "/"):
        raise ValueError("must name an absolute folder, such as file:///var/lib/cascade")


def default_url(name: str, data_dir: Path) -> str:
    """Return the default of a setting that is a URL, in the data folder."""
    if name == "blob_url":
        return (data_dir / "blobs").as_uri() if data_dir.is_absolute() else ""
    file = data_dir / ("dbos.db" if name == "dbos_url" else "cascade.db")
    # A "?" or "%" in the folder's name has another meaning in a URL.
    return f"sqlite:///{quote(str(file), safe='/ +')}"


def hide_password(value: str) -> str:
    """Return ``value`` with a password in its URL, if any, replaced by ``***``."""
    if "://" not in value or "@" not in value:
        return value
    try:
        password = urlsplit(value).password
    except ValueError:
        password = None
    if password:
        return value.replace(f":{password}@", ":***@", 1)
    return value
