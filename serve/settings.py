"""What an operator can choose: ``CASCADE_*`` variables, read once, frozen, all errors at once."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cascade_core.checkpoints.checkpoint import DEMO_MODEL, ModelSource, Size, Variant
from cascade_core.errors import SettingsInvalid
from serve.storage.job_deadline import AT_LEAST_S
from serve.validation_messages import describe

logger = logging.getLogger(__name__)

ENV_PREFIX = "CASCADE_"
CONNECTIONS = 8
"""To the database, of one process."""
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
# No memory:// here: every replica is a process of its own and would see its own, empty store.
BLOB_SCHEMES = ("file", "s3", "s3a", "gs", "az", "abfs", "abfss")

OTHER_VARIABLES = frozenset({"CASCADE_URL", "CASCADE_API_KEY", "CASCADE_API_KEY_FILE"})
"""Read by the command line and the bot."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_URL_FIELDS = ("database_url", "dbos_url", "blob_url")


class Settings(BaseSettings):
    """The service's settings; every field is the variable ``CASCADE_<NAME>``.

    An empty variable counts as absent. Empty URLs become files under ``data_dir``.

    Attributes:
        model, prior_model, model_revision, prior_revision, model_variant, stage_c_size,
            stage_b_size: which weights, see
            :class:`cascade_core.checkpoints.checkpoint.ModelSource`.
        device, dtype: where and how the stages compute; ``auto`` picks CUDA with bfloat16 if there
            is a GPU.
        data_dir: home of the default database and blobs.
        database_url: jobs, images, latents and events (SQLAlchemy URL).
        dbos_url: the workflow engine's own tables.
        database_connections: of each gateway process; one that runs jobs has as many, and its
            workflow engine 6 more.
        blob_url: image and latent bytes (obstore URL).
        cors_origins: sites whose pages may ask the service from a browser, with a key, parted by
            commas (``https://app.example``); empty: none.
        public_url: how clients reach the service, for links to shared images; empty: the address
            that the request was sent to, if it is this machine's or ``http_host``.
        previews: preview pictures per stage and image; 0 turns them off.
        previewer_path: the published Stage C previewer's weights, if used.
        torch_threads: per replica; two replicas with many threads on few cores are far slower.
        max_rows: most requests in one forward pass; 0 is 1 on a CPU and 4 on a GPU.
        reuse_latents: use a stored Stage C latent again where the same one would be computed.
        max_open_jobs, max_open_jobs_per_user: how many may be queued or running; more get a 429.
        max_streams, max_streams_per_key: how many event streams and waiting requests one gateway
            process holds open, in all and of one API key.
        min_deadline_s: every job may take this long, and ten times its estimate on top.
        blocklist: file of words and phrases that no prompt may hold, see
            :class:`serve.moderation.blocklist.Blocklist`; empty: none.
        checker: import path of what makes a :class:`serve.checker.Checker`, asked after the
            blocklist; empty: none.
        sync_wait_s: how long a request of OpenAI's images API waits for its job.
        model_aliases: further names under which clients may ask for the model, divided by commas;
            for clients whose model name is fixed, such as ``dall-e-3``.
        response_format: what OpenAI's routes answer to clients that do not say: ``b64_json`` or
            ``url``; empty: ``b64_json`` for generations, ``url`` for variations.
        drain_s: how long running jobs may go on after the service was told to stop.
        keep_days: how long images are kept, with their latents; 0: for ever.
        keep_gb: how much space images may take, in 10^9 bytes, before the oldest go; 0: any.
        keep_events_days: how long after a job's end its events, previews and workflow records are
            kept; 0: for ever.
        otlp_endpoint: base URL of a collector that takes OpenTelemetry over HTTP; empty: none.
        hour_price_c, hour_price_b, hour_price_a: what an hour of one replica of the stage costs, in
            any currency, for the metrics; 0: unknown.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
        protected_namespaces=(),
    )

    model: str = DEMO_MODEL
    prior_model: str = ""
    model_revision: str = ""
    prior_revision: str = ""
    model_variant: Variant = ""
    stage_c_size: Size = "full"
    stage_b_size: Size = "full"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    data_dir: Path = Path("~/.local/share/cascade")
    database_url: str = ""
    dbos_url: str = ""
    database_connections: Annotated[int, Field(ge=4, le=1000)] = CONNECTIONS
    blob_url: str = ""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    cors_origins: str = ""
    public_url: str = ""
    previews: Annotated[int, Field(ge=0, le=20)] = 3
    previewer_path: str = ""
    torch_threads: Annotated[int, Field(ge=1, le=256)] = 1
    max_rows: Annotated[int, Field(ge=0, le=64)] = 0
    reuse_latents: bool = True
    max_open_jobs: Annotated[int, Field(ge=1, le=100_000)] = 500
    max_open_jobs_per_user: Annotated[int, Field(ge=1, le=100_000)] = 50
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 3000
    max_streams_per_key: Annotated[int, Field(ge=1, le=100_000)] = 1000
    min_deadline_s: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] = AT_LEAST_S
    blocklist: str = ""
    checker: str = ""
    model_aliases: str = ""
    response_format: Literal["", "b64_json", "url"] = ""
    sync_wait_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    keep_days: Annotated[float, Field(ge=0)] = 0.0
    keep_gb: Annotated[float, Field(ge=0)] = 0.0
    keep_events_days: Annotated[float, Field(ge=0)] = 7.0
    hour_price_c: Annotated[float, Field(ge=0)] = 0.0
    hour_price_b: Annotated[float, Field(ge=0)] = 0.0
    hour_price_a: Annotated[float, Field(ge=0)] = 0.0
    otlp_endpoint: str = ""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("http_host")
    @classmethod
    def _bare_host(cls, value: str) -> str:
        host = value.strip().removeprefix("[").removesuffix("]")
        if not host or not host.isprintable() or set(host) & set(" /?#@"):
            raise ValueError("must be the name or the address of this machine")
        return host

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            str(value).encode()
            return value.expanduser().absolute()
        except UnicodeEncodeError as error:
            raise ValueError("must be a path in UTF-8") from error
        except RuntimeError as error:  # a user who is in no list of users, as in a container
            raise ValueError("name a folder: this user has no home folder") from error

    @field_validator("blocklist")
    @classmethod
    def _absolute_text(cls, value: str) -> str:
        return str(cls._absolute(Path(value))) if value else ""

    @field_validator("checker")
    @classmethod
    def _import_path(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if value and not all(part.isidentifier() for part in (*module.split("."), name)):
            raise ValueError("must be an import path such as package.module:factory")
        return value

    @field_validator("model_aliases")
    @classmethod
    def _names(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")] if value else []
        if not all(_MODEL_NAME.fullmatch(name) for name in names):
            raise ValueError("must be names of models, divided by commas")
        return ",".join(names)

    @field_validator("public_url", "otlp_endpoint")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        is_plain = parts.scheme in ("http", "https") and parts.netloc and not parts.query
        if value and not is_plain:
            raise ValueError("must be an address that starts with http:// or https://")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in _listed(value):
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or set(host) & set("/?#*@"):
                raise ValueError("must be origins such as https://app.example, parted by commas")
        return value

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The sites whose pages may ask the service from a browser."""
        return frozenset(_listed(self.cors_origins))

    @field_validator(*_URL_FIELDS)
    @classmethod
    def _known_scheme(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name)
        if not value:
            return _default_url(name, info.data.get("data_dir", Path()))
        allowed = BLOB_SCHEMES if name == "blob_url" else DATABASE_SCHEMES
        if value.partition("://")[0] not in allowed or "://" not in value:
            raise ValueError(f"must be a URL that starts with one of {', '.join(allowed)}")
        _check_place(value)
        return value

    def model_names(self, model_id: str) -> list[str]:
        """Return every name under which clients may ask for the model, its own first."""
        return [model_id, *filter(None, self.model_aliases.split(","))]

    def model_source(self) -> ModelSource:
        """Return which model to open."""
        return ModelSource(
            model=self.model,
            prior_model=self.prior_model,
            revision=self.model_revision,
            prior_revision=self.prior_revision,
            variant=self.model_variant,
            stage_c_size=self.stage_c_size,
            stage_b_size=self.stage_b_size,
            previewer=self.previewer_path,
        )

    @classmethod
    def _load(cls, **changes: Any) -> Self:
        return cls(**changes)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def load_settings(**changes: Any) -> Settings:
    """Read the environment, over which ``changes`` win; what only looks like a setting is logged.

    Raises:
        SettingsInvalid: lists every variable that is wrong, one a line.
    """
    for warning in unknown_variables(os.environ):
        logger.warning(warning)
    try:
        return Settings._load(**changes)
    except ValidationError as error:
        raise SettingsInvalid("\n".join(map(_problem, error.errors()))) from error


def unknown_variables(environment: Collection[str]) -> list[str]:
    """Return one sentence about each ``CASCADE_*`` name that nothing reads."""
    # Kubernetes tells every container about a Service named cascade in variables like these.
    hosts = [name for name in environment if name.endswith("_SERVICE_HOST")]
    services = [host.removesuffix("SERVICE_HOST") for host in hosts]
    of_services = tuple(prefix + kind for prefix in services for kind in ("SERVICE_", "PORT"))
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    known_ends = [name.removeprefix(ENV_PREFIX) for name in known]
    sentences = []
    for name in sorted(set(environment) - known):
        if name.startswith(ENV_PREFIX) and not name.startswith(of_services):
            close = get_close_matches(name.removeprefix(ENV_PREFIX), known_ends, n=1)
            hint = f"; did you mean {ENV_PREFIX}{close[0]}?" if close else ""
            sentences.append(f"{name} is no setting and has no effect{hint}")
    return sentences


def explain(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (variable, value, source) of every setting; passwords in URLs are hidden."""
    return [
        (
            ENV_PREFIX + name.upper(),
            hide_password(_shown(getattr(settings, name))),
            "environment" if name in settings.model_fields_set else "default",
        )
        for name in Settings.model_fields
    ]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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


def _problem(problem: Mapping[str, Any]) -> str:
    # The value itself is left out: a mistyped URL may hold a password.
    variable = f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}"
    if problem["type"] == "value_error":
        return f"{variable}: {problem['msg'].removeprefix('Value error, ')}"
    return describe(variable, problem)


def _check_place(url: str) -> None:
    """Check that a database's or store's URL can be read, and names a file where it needs one.

    Raises:
        ValueError: it cannot, or does not.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:  # whose words may hold the password
        raise ValueError("must be a URL; % and [ in a password are written %25 and %5B") from error
    if parts.scheme == "sqlite" and parts.path.lstrip("/") in ("", ":memory:"):
        # Every process is to see one database.
        raise ValueError("must name a file, such as sqlite:////var/lib/cascade/cascade.db")
    if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or parts.path == "/"):
        raise ValueError("must name a folder from the root on, such as file:///var/lib/cascade")


def _default_url(name: str, data_dir: Path) -> str:
    if name == "blob_url":
        return (data_dir / "blobs").as_uri() if data_dir.is_absolute() else ""
    file = data_dir / ("dbos.db" if name == "dbos_url" else "cascade.db")
    # A "?" or "%" in the folder's name would mean something else in a URL.
    return f"sqlite:///{quote(str(file), safe='/ +')}"
