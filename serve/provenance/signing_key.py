"""The key that signs pictures: a file of the operator's, or an object that asks a device."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cascade_core.errors import SettingsInvalid
from serve.provenance.certificates import algorithm_of
from serve.settings import Settings

MAX_PEM_BYTES = 256 * 1024


class SigningKey(Protocol):
    """What ``CASCADE_C2PA_SIGNER`` makes: a key that never leaves its device.

    Methods are called in threads, several at a time.

    Attributes:
        chain_pem: the certificate of the key and those above it, in PEM, the key's first.
    """

    chain_pem: str

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data`` with the hash that belongs to the certificate's key.

        ECDSA (P-256 with SHA-256, P-384 with SHA-384, P-521 with SHA-512): r and s one after the
        other, each as long as the curve's order, not DER. RSA: PSS with SHA-256. Or Ed25519.
        What it raises makes the job fail with `provenance_failed`.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileKey:
    """A certificate chain and its private key, both in PEM."""

    chain_pem: str
    key_pem: str


def load_key(settings: Settings) -> FileKey | SigningKey | None:
    """Return the key that the settings name; None: pictures are not signed.

    Raises:
        SettingsInvalid: a file cannot be read or holds no certificate, or the factory failed.
    """
    if settings.c2pa_signer:
        key = _imported(settings.c2pa_signer)
        _check_chain("CASCADE_C2PA_SIGNER", key.chain_pem)
        return key
    if not settings.c2pa_cert:
        return None
    chain_pem = _read("CASCADE_C2PA_CERT", settings.c2pa_cert)
    _check_chain("CASCADE_C2PA_CERT", chain_pem)
    return FileKey(chain_pem, _read("CASCADE_C2PA_KEY", settings.c2pa_key))


def read_trust(settings: Settings) -> str:
    """Return the certificates that are trusted beside our own, in PEM.

    Raises:
        SettingsInvalid: the file cannot be read or holds none.
    """
    if not settings.c2pa_trust:
        return ""
    trusted_pem = _read("CASCADE_C2PA_TRUST", settings.c2pa_trust)
    _check_chain("CASCADE_C2PA_TRUST", trusted_pem)
    return trusted_pem


def _check_chain(variable: str, chain_pem: str) -> None:
    try:
        algorithm_of(chain_pem)
    except ValueError as error:
        raise SettingsInvalid(f"{variable}: {error}") from error


def _read(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_PEM_BYTES).decode("ascii")
    except OSError as error:
        raise SettingsInvalid(f"{variable}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{variable}: {path} is no PEM file") from error


def _imported(path: str) -> SigningKey:
    """Call the factory at ``package.module:factory``."""
    module, _, name = path.partition(":")
    try:
        key = getattr(importlib.import_module(module), name)()
    except Exception as error:  # the module is the operator's own
        message = f"CASCADE_C2PA_SIGNER: {path} failed: {type(error).__name__}: {error}"
        raise SettingsInvalid(message) from error
    if not (isinstance(getattr(key, "chain_pem", None), str) and callable(getattr(key, "sign", 0))):
        message = f"CASCADE_C2PA_SIGNER: what {path} makes has no chain_pem or no sign"
        raise SettingsInvalid(message)
    return key  # type: ignore[no-any-return]
