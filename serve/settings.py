"""The settings of the service: ``CASCADE_*`` variables, read once, checked together."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode, SettingsConfigDict

from cascade_core.errors import InvalidRequest, SettingsInvalid
from cascade_core.families.registry import STAGE_NAMES
from cascade_core.model_defaults import MAX_ROWS
from cascade_core.operations.fields import FIELDS
from serve.setting_groups.models import ModelSettings
from serve.setting_groups.signing import SigningSettings
from serve.store_urls import check_store_url, default_url, hide_password
from serve.validation_messages import describe

logger = logging.getLogger(__name__)

ENV_PREFIX = "CASCADE_"
CONNECTIONS = 8
"""Connections to the database, of one process."""
MIN_DEADLINE_S = 900.0
"""Granted to every job: short jobs wait for the same restarts as long ones."""

OTHER_VARIABLES = frozenset(
    {"CASCADE_URL", "CASCADE_API_KEY", "CASCADE_API_KEY_FILE", "CASCADE_SCORER"}
)
"""Variables that the command line and the bot read."""

HourPrice = Annotated[float, Field(ge=0)]
_BY_STAGE = "hour_price"
"""The field that has one variable for each name of a stage, such as CASCADE_HOUR_PRICE_C."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_URL_FIELDS = ("database_url", "dbos_url", "blob_url")


class Settings(SigningSettings, ModelSettings):
    """The service's settings; every field is the variable ``CASCADE_<NAME>``, see `all_variables`.

    An empty variable counts as absent. `docs.tables` copies the fields' docstrings into
    docs/settings.md.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        validate_default=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the stages compute; `auto`: on a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the weights; `auto`: bfloat16 on a GPU, float32 on a CPU."""
    data_dir: Path = Path("~/.local/share/cascade")
    """Folder of the default databases and blobs."""
    database_url: str = ""
    """Jobs, images, latents and events: `sqlite://` or `postgresql://`; empty: SQLite in the data
    folder."""
    dbos_url: str = ""
    """The workflow engine's own tables; empty: SQLite in the data folder."""
    database_connections: Annotated[int, Field(ge=4, le=1000)] = CONNECTIONS
    """Connections to PostgreSQL of each gateway process; a Jobs process has 6 more, see
    docs/operations.md."""
    blob_url: str = ""
    """Bytes of images and latents: `file://`, `s3://`, `gs://` or `az://`; empty: a folder in the
    data folder."""
    http_host: str = "127.0.0.1"
    """Address that the gateway listens on; beyond this machine only with API keys, see
    docs/access.md."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port that the gateway listens on."""
    cors_origins: str = ""
    """Sites whose pages may call the API from a browser, with a key: `https://app.example`,
    separated by commas."""
    public_url: str = ""
    """Address at which clients reach the service, for links to images; empty: the address of the
    request, if that is this machine's or what the service listens on."""
    previews: Annotated[int, Field(ge=0, le=20)] = 3
    """Previews of each image of a watched job while Stage C runs (Stage B makes one); 0: none."""
    torch_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of each replica; several replicas with many threads on few cores are far slower."""
    max_rows: Annotated[int, Field(ge=0, le=MAX_ROWS)] = 0
    """Most images in one step of a stage; 1: a picture's pixels depend on no other; 0: what the
    model states, see docs/models.md."""
    warm_up_sizes: str = ""
    """Sizes of which each replica does a step when it starts, in pixels: `1024x1024,1152x896`; the
    first picture of such a size is as fast as later ones."""
    compile: bool = False
    """Have torch compile the blocks of Stages C and B when a replica starts, see
    docs/operations.md."""
    cuda_graphs_gb: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """10^9 bytes of GPU memory of each replica of Stages C and B for CUDA graphs of the steps of
    the warm-up's sizes, see docs/operations.md; 0: none."""
    reuse_latents: bool = True
    """Use a stored Stage C latent again for an equal request of the same API key and end user
    (`stage_c: reused`)."""
    max_open_jobs: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Most jobs queued or running, a series as one per 8 images; more get 429, `Retry-After`."""
    max_open_jobs_per_user: Annotated[int, Field(ge=1, le=100_000)] = 50
    """The same for each API key, and for each end user of a trusted key."""
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 3000
    """Most event streams and waiting requests of one gateway process; more get 503."""
    max_streams_per_key: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """The same of one API key; more get 429."""
    min_deadline_s: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] = MIN_DEADLINE_S
    """Seconds that every job may take, plus ten times its estimate; then the job fails."""
    waiting_hours: Annotated[float, Field(gt=0, le=366 * 24)] = 24.0
    """Hours that a job with `stop_after` waits to be continued; then it ends with what it has."""
    blocklist: str = ""
    """File of words and phrases that no prompt may hold, see docs/access.md."""
    checker: str = ""
    """`package.module:factory` of your own content checker, see docs/access.md."""
    checker_redos: Annotated[int, Field(ge=0, le=20)] = 3
    """How often an image is composed anew if the checker rejects it; then it is refused."""
    share_approved: bool = True
    """Every key that may read sees approved and published assets of all keys."""
    self_approval: bool = False
    """Let people approve what they made or submitted themselves."""
    prompts_in_files: bool = True
    """Write prompts into picture files; without them, files still hold seeds, ids and the model."""
    model_aliases: str = ""
    """Further names of the model, for clients whose model name is fixed: `dall-e-3,gpt-image-1`."""
    response_format: Literal["", "b64_json", "url"] = ""
    """What OpenAI's routes answer if the client does not say; empty: `b64_json` for generations,
    `url` for variations."""
    sync_wait_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Seconds that a request of OpenAI's images API waits for its job."""
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds that running jobs may go on after the service was told to stop."""
    keep_days: Annotated[float, Field(ge=0)] = 0.0
    """Delete images of this age, with their latents; 0: never."""
    keep_gb: Annotated[float, Field(ge=0)] = 0.0
    """Delete the oldest images when all take more than this many 10^9 bytes with their thumbnails
    (copies in other formats do not count); 0: never."""
    upload_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    """Delete an uploaded picture this long after it was sent or last used."""
    upload_quota_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """10^6 bytes of uploads that an API key, or an end user of a trusted one, may have; more get
    409."""
    keep_events_days: Annotated[float, Field(ge=0)] = 7.0
    """Delete events, previews and workflow records this long after the job's end; 0: never."""
    hour_price: Annotated[dict[str, HourPrice], NoDecode] = Field(default_factory=dict)
    """Price of an hour of one replica of the stage (its share of the GPU), in any currency, for the
    cost per image on the dashboard; 0: unknown."""
    otlp_endpoint: str = ""
    """Base URL of an OpenTelemetry collector (OTLP over HTTP): `http://collector:4318`; empty: no
    traces."""
    log_format: Literal["text", "json"] = "text"
    """`json` for machines."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe records that are logged."""

    @field_validator("hour_price", mode="before")
    @classmethod
    def _prices_of_the_family(cls, value: object) -> object:
        """Leave out prices of unknown stages, so that such a variable has no effect."""
        prices = value if isinstance(value, dict) else {}
        return {stage: prices[stage] for stage in STAGE_NAMES if stage in prices}

    @field_validator("warm_up_sizes")
    @classmethod
    def _sizes(cls, value: str) -> str:
        _sizes_px(value)
        return value

    @field_validator("cuda_graphs_gb")
    @classmethod
    def _with_a_gpu_and_sizes(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("device") == "cpu":
            raise ValueError("needs a GPU, and CASCADE_DEVICE is cpu")
        if value and not info.data.get("warm_up_sizes"):
            raise ValueError("is for the sizes in CASCADE_WARM_UP_SIZES, which names none")
        return value

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
        except RuntimeError as error:  # a user that no list of users names, as in a container
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
            raise ValueError("must be names of models, separated by commas")
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
                raise ValueError("must be origins such as https://app.example, separated by commas")
        return value

    @property
    def warm_up_sizes_px(self) -> tuple[tuple[int, int], ...]:
        """The (width, height) of the sizes of which replicas do a step when they start."""
        return _sizes_px(self.warm_up_sizes)

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The sites whose pages may call the service from a browser."""
        return frozenset(_listed(self.cors_origins))

    @field_validator(*_URL_FIELDS)
    @classmethod
    def _known_scheme(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name)
        if not value:
            return default_url(name, info.data.get("data_dir", Path()))
        check_store_url(name, value)
        return value

    @property
    def alias_names(self) -> list[str]:
        """Further names of the first model for clients."""
        return _listed(self.model_aliases)

    @classmethod
    def _load(cls, **changes: Any) -> Self:
        return cls(**changes)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _sizes_px(text: str) -> tuple[tuple[int, int], ...]:
    sizes = []
    for size in _listed(text):
        try:
            width, height = map(int, size.split("x"))
            FIELDS["width"].check("width", width)
            FIELDS["height"].check("height", height)
        except (ValueError, InvalidRequest) as error:
            raise ValueError(f"must be sizes such as 1024x1024; {size}: {error}") from error
        sizes.append((width, height))
    return tuple(sizes)


def load_settings(**changes: Any) -> Settings:
    """Read the environment; ``changes`` override it. Unknown ``CASCADE_*`` variables are logged.

    Raises:
        SettingsInvalid: lists every wrong variable, one a line.
    """
    for warning in unknown_variables(os.environ):
        logger.warning(warning)
    try:
        return Settings._load(**changes)
    except ValidationError as error:
        raise SettingsInvalid("\n".join(map(_problem, error.errors()))) from error


def unknown_variables(environment: Collection[str]) -> list[str]:
    """Return one sentence about each ``CASCADE_*`` name that is not read."""
    # Kubernetes describes a Service named cascade to every container in variables like these.
    hosts = [name for name in environment if name.endswith("_SERVICE_HOST")]
    services = [host.removesuffix("SERVICE_HOST") for host in hosts]
    of_services = tuple(prefix + kind for prefix in services for kind in ("SERVICE_", "PORT"))
    known = all_variables().keys() | OTHER_VARIABLES
    known_ends = [name.removeprefix(ENV_PREFIX) for name in known]
    sentences = []
    for name in sorted(set(environment) - known):
        if name.startswith(ENV_PREFIX) and not name.startswith(of_services):
            close = get_close_matches(name.removeprefix(ENV_PREFIX), known_ends, n=1)
            hint = f"; did you mean {ENV_PREFIX}{close[0]}?" if close else ""
            sentences.append(f"{name} is no setting and has no effect{hint}")
    return sentences


def all_variables() -> dict[str, FieldInfo]:
    """Return every variable that is a setting, with its type, default and description."""
    found = {}
    for name, field in Settings.model_fields.items():
        if name == _BY_STAGE:
            for stage in STAGE_NAMES:
                price = FieldInfo.from_annotated_attribute(HourPrice, 0.0)
                text = field.description or ""
                price.description = text.replace("the stage", f"Stage {stage.upper()}")
                found[_variable(name, stage)] = price
        else:
            found[_variable(name)] = field
    return found


def explain(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (variable, value, source) of every setting; passwords in URLs are hidden."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    chosen = {_variable(name): value for name, value in given.items()}
    chosen |= {_variable(_BY_STAGE, stage): price for stage, price in settings.hour_price.items()}
    rows = []
    for variable, field in all_variables().items():
        # A default may depend on other settings.
        name = variable.removeprefix(ENV_PREFIX).lower()
        value = chosen.get(variable, getattr(settings, name, field.default))
        source = "environment" if variable in chosen else "default"
        rows.append((variable, hide_password(_shown(value)), source))
    return rows


def _variable(*names: object) -> str:
    """Return the variable of a field, and of a stage where the field has one for each."""
    return ENV_PREFIX + "_".join(map(str, names)).upper()


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(problem: Mapping[str, Any]) -> str:
    # The value is left out: a mistyped URL may contain a password.
    if not problem["loc"]:  # of several together
        return str(problem["msg"]).removeprefix("Value error, ")
    variable = _variable(*problem["loc"])
    if problem["type"] == "value_error":
        return f"{variable}: {problem['msg'].removeprefix('Value error, ')}"
    return describe(variable, problem)
