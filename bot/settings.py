"""What an operator can choose: environment variables, read once, frozen, all errors at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cascade_core.errors import SettingsInvalid
from cascade_core.service_url import checked_url, default_url

MAX_PAGE = 200
"""The service lists as many jobs at a time, and the bot counts those of a person on one page."""

_KEPT_AS_THEY_ARE = {"token": "DISCORD_TOKEN", "token_file": "DISCORD_TOKEN_FILE"}
_SHARED = {
    "url": "CASCADE_URL",
    "api_key": "CASCADE_API_KEY",
    "api_key_file": "CASCADE_API_KEY_FILE",
}


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return (_KEPT_AS_THEY_ARE | _SHARED).get(name, f"BOT_{name.upper()}")


class Settings(BaseSettings):
    """The bot's settings; an empty variable counts as absent.

    Attributes:
        token: of the Discord application's bot; or in a file.
        url, api_key: the service and a trusted key for it; the key may be in a file.
        service_timeout_s: how long a request to the service may take, with its repetitions.
        http_host, http_port: where health and metrics are answered; port 0 turns them off.
        sync: put changed commands in place at start.
        guilds: put the commands into these servers only, at once; for development.
        max_open_per_user: jobs that one person may have under way; 0: no limit.
        grace_s: how long live messages may be brought to rest after a stop.
    """

    model_config = SettingsConfigDict(
        env_prefix="BOT_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    token: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("DISCORD_TOKEN"))
    token_file: Path | None = Field(None, validation_alias=AliasChoices("DISCORD_TOKEN_FILE"))
    url: str = Field(
        default_factory=lambda: default_url(os.environ),
        validation_alias=AliasChoices("CASCADE_URL"),
    )
    api_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("CASCADE_API_KEY"))
    api_key_file: Path | None = Field(None, validation_alias=AliasChoices("CASCADE_API_KEY_FILE"))
    service_timeout_s: Annotated[float, Field(ge=1, le=600)] = 20.0
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8100
    sync: bool = True
    guilds: str = ""
    max_open_per_user: Annotated[int, Field(ge=0, le=MAX_PAGE)] = 4
    grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

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
            SettingsInvalid: there is none, or its file cannot be read.
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
            SettingsInvalid: its file cannot be read.
        """
        return _secret(self.api_key, self.api_key_file, "CASCADE_API_KEY_FILE")

    @classmethod
    def _load(cls) -> Self:
        return cls()


def load_settings(**changes: Any) -> Settings:
    """Read the environment; ``changes`` win over it.

    Raises:
        SettingsInvalid: lists every variable that is wrong, one a line.
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
        raise SettingsInvalid(f"{name}: {path} holds no text") from error
