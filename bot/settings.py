"""The bot's settings from environment variables; all errors are reported at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cascade_core.errors import SettingsInvalid
from cascade_core.service_url import checked_url, default_url

MAX_PAGE = 200
"""Largest page of jobs that the service returns; one page must hold a person's open jobs."""

_DISCORD_NAMES = {"token": "DISCORD_TOKEN", "token_file": "DISCORD_TOKEN_FILE"}
_SERVICE_NAMES = {
    "url": "CASCADE_URL",
    "api_key": "CASCADE_API_KEY",
    "api_key_file": "CASCADE_API_KEY_FILE",
}


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return (_DISCORD_NAMES | _SERVICE_NAMES).get(name, f"BOT_{name.upper()}")


class Settings(BaseSettings):
    """The bot's settings; an empty variable counts as absent.

    `docs.tables` copies the fields' docstrings into docs/discord-bot.md.
    """

    model_config = SettingsConfigDict(
        env_prefix="BOT_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    token: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("DISCORD_TOKEN"))
    """Token of the Discord application's bot."""
    token_file: Path | None = Field(None, validation_alias=AliasChoices("DISCORD_TOKEN_FILE"))
    """File that holds the token, instead."""
    url: str = Field(
        default_factory=lambda: default_url(os.environ),
        validation_alias=AliasChoices("CASCADE_URL"),
    )
    """Address of the service; absent: where `cascade up` listens."""
    api_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("CASCADE_API_KEY"))
    """A trusted API key of the service."""
    api_key_file: Path | None = Field(None, validation_alias=AliasChoices("CASCADE_API_KEY_FILE"))
    """File that holds the API key, instead."""
    service_timeout_s: Annotated[float, Field(ge=1, le=600)] = 20.0
    """Seconds that the service may take to answer, repetitions included; then the bot tells the
    user that the service does not answer."""
    http_host: str = "127.0.0.1"
    """Address of `/healthz`, `/readyz` and `/metrics` (Prometheus)."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8100
    """Port of the same; 0: none."""
    sync: bool = True
    """Register changed commands at start; `cascade bot sync` does so at any time."""
    guilds: str = ""
    """Ids of servers, separated by commas: register the commands in these servers only, at once
    (for development)."""
    max_open_per_user: Annotated[int, Field(ge=0, le=MAX_PAGE)] = 4
    """Most open jobs of one person; 0: no limit."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """Seconds for the last edits of live messages after SIGTERM."""
    log_format: Literal["text", "json"] = "text"
    """`json` for machines."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe records that are logged."""

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        try:
            return checked_url(value)
        except SettingsInvalid as error:
            raise ValueError(error.message.removeprefix("CASCADE_URL ")) from error

    @field_validator("guilds")
    @classmethod
    def _ids(cls, value: str) -> str:
        if not all(part.strip().isdecimal() for part in value.split(",") if part):
            raise ValueError("must be server ids, separated by commas")
        return value

    @property
    def guild_ids(self) -> tuple[int, ...]:
        """Return the servers for development."""
        return tuple(int(part) for part in self.guilds.split(",") if part)

    def read_token(self) -> str:
        """Return the bot's token.

        Raises:
            SettingsInvalid: the token is missing, or its file cannot be read.
        """
        token = _secret(self.token, self.token_file, "DISCORD_TOKEN_FILE")
        if not token:
            raise SettingsInvalid(
                "DISCORD_TOKEN (or DISCORD_TOKEN_FILE) is missing: take it from the page Bot of "
                "your application at https://discord.com/developers/applications"
            )
        return token

    def read_api_key(self) -> str:
        """Return the key for the service; empty: none.

        Raises:
            SettingsInvalid: the key's file cannot be read.
        """
        return _secret(self.api_key, self.api_key_file, "CASCADE_API_KEY_FILE")

    @classmethod
    def _load(cls) -> Self:
        return cls()


def load_settings(**changes: Any) -> Settings:
    """Read the settings from the environment; ``changes`` take precedence.

    Raises:
        SettingsInvalid: lists every invalid variable, one per line.
    """
    try:
        return Settings(**changes) if changes else Settings._load()
    except ValidationError as error:
        lines = [
            f"{variable(str(item['loc'][0]))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise SettingsInvalid("\n".join(lines)) from error


def _secret(value: SecretStr, path: Path | None, name: str) -> str:
    if value.get_secret_value() or path is None:
        return value.get_secret_value().strip()
    try:
        return Path(os.path.expanduser(path)).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsInvalid(f"{name}: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsInvalid(f"{name}: {path} is not a text file") from error
