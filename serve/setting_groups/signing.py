"""The settings that say how pictures are marked: signed and with what, and watermarked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_KEY_FILES = ("c2pa_cert", "c2pa_key")


class SigningSettings(BaseSettings):
    """How pictures are marked; a part of :class:`serve.settings.Settings`."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    c2pa_cert: str = ""
    """File of the certificate chain that pictures are signed with (PEM, the signer's first), see
    docs/provenance.md; empty: pictures are not signed."""
    c2pa_key: str = ""
    """File of its private key (PEM)."""
    c2pa_signer: str = ""
    """`package.module:factory` of a key that never leaves its device, in place of the two files."""
    c2pa_tsa_url: str = ""
    """Time-stamp authority (RFC 3161) that each signature is sent to; empty: none."""
    c2pa_training: Literal["allowed", "notAllowed", "constrained"] = "notAllowed"
    """What signed pictures say about their use for training and data mining."""
    c2pa_trust: str = ""
    """File of certificates (PEM) whose signatures are shown as trusted, beside the own chain's."""

    watermarker: str = ""
    """`package.module:factory` of your own watermarker, see docs/provenance.md; empty: pictures get
    no watermark."""

    @field_validator(*_KEY_FILES, "c2pa_trust")
    @classmethod
    def _absolute_file(cls, value: str) -> str:
        return str(Path(value).expanduser().absolute()) if value else ""

    @field_validator("c2pa_signer", "watermarker")
    @classmethod
    def _factory(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if value and not all(part.isidentifier() for part in (*module.split("."), name)):
            raise ValueError("must be an import path such as package.module:factory")
        return value

    @field_validator("c2pa_tsa_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.scheme in ("http", "https") and parts.netloc):
            raise ValueError("must be an address that starts with http:// or https://")
        return value

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        given = [name for name in _KEY_FILES if getattr(self, name)]
        if self.c2pa_signer and given:
            raise ValueError("CASCADE_C2PA_SIGNER has a key, so CASCADE_C2PA_CERT must not be set")
        if len(given) == 1:
            raise ValueError("CASCADE_C2PA_CERT and CASCADE_C2PA_KEY go together; one is missing")
        return self

    @property
    def signs_pictures(self) -> bool:
        """True if pictures are signed."""
        return bool(self.c2pa_cert or self.c2pa_signer)
