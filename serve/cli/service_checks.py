"""The doctor's checks of what the service works with: model, stores, API keys, moderation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from cascade_core.checkpoints.checkpoint import (
    ModelSource,
    check_names,
    find_family,
    open_checkpoint,
)
from cascade_core.checkpoints.layout import has_weights
from cascade_core.errors import CascadeError, DatabaseOlder, ModelUnavailable, SettingsInvalid
from cascade_core.families.licence import Licence, strictest
from cascade_core.families.registry import published_licence
from serve.cli.findings import Finding
from serve.error_first_line import first_line
from serve.settings import Settings

_OTHER_DATABASE = "check CASCADE_DATABASE_URL"
_EXPORT = "export and import, or set CASCADE_DATABASE_URL to an empty database"
_OTHER_STORE = "check CASCADE_BLOB_URL"
_ENDS_SOON = timedelta(days=30)


def check_model(settings: Settings) -> Finding:
    """Check that every weight file of every model is there and readable."""
    try:
        found = [_readable_files(source) for source in settings.model_sources()]
    except CascadeError as error:
        variable = "CASCADE_MODELS" if settings.models else "CASCADE_MODEL"
        return Finding("model", "broken", str(error), f"correct {variable}; see cascade models")
    except OSError as error:
        remedy = "make the file readable for this user"
        return Finding("model", "broken", f"{error.filename}: {error.strerror}", remedy)
    return Finding("model", "ok", "; ".join(found))


def _readable_files(source: ModelSource) -> str:
    """Return what was found of a model; raises OSError if a file cannot be read."""
    check_names(source)
    if source.is_hub:
        return f"{source.model} is fetched from the hub when the service starts"
    checkpoint = open_checkpoint(source)
    family = find_family(source)
    # A model may lack some parts of its family, such as one of several text encoders.
    parts = [name for name in family.components if name in checkpoint.components]
    files = [file for name in parts if has_weights(name) for file in checkpoint.weight_files(name)]
    for file in files:
        with file.open("rb") as stream:
            stream.read(8)
    return f"{checkpoint.id}, {len(files)} weight files are readable"


def check_licence(settings: Settings) -> Finding:
    """Check that every model may be offered to others; a service for oneself needs no such right.

    What is to be fetched from the hub is not opened; its licence is known by its hub id.
    """
    try:
        found = [_name_and_licence(source) for source in settings.model_sources()]
    except (CascadeError, OSError):  # the check of the models says why
        detail = "cannot be checked, as the model cannot be opened"
        return Finding("licence", "warning", detail, "cascade models")
    details = [_may_be_offered(name, licence) for name, licence in found]
    if all(licence.hosting == "allowed" for _, licence in found):
        return Finding("licence", "ok", "; ".join(details))
    remedy = "read the licence, or serve a model whose licence allows it; see docs/models.md"
    return Finding("licence", "warning", "; ".join(details), remedy)


def _name_and_licence(source: ModelSource) -> tuple[str, Licence]:
    if source.is_hub:
        unknown = Licence("not known by its hub id")
        names = filter(None, (source.model, source.prior_model))
        known = [published_licence(name) or unknown for name in names]
        return source.model, strictest(known)
    checkpoint = open_checkpoint(source, components=())
    licence = Licence(checkpoint.licence, checkpoint.hosting, checkpoint.commercial)
    return checkpoint.id, licence


def _may_be_offered(name: str, licence: Licence) -> str:
    answers = {
        "allowed": "may be offered to others",
        "forbidden": "may NOT be offered to others",
        "check": "may be offered to others only if its licence allows it",
    }
    return f"{name} {answers[licence.hosting]} ({licence.text})"


def check_database(settings: Settings) -> Finding:
    """Check that the database answers and takes a row; makes missing tables."""
    from serve.storage.database import Database
    from serve.store_urls import hide_password

    where = hide_password(settings.database_url)
    try:
        database = Database(settings.database_url)
        database.create_tables()
        database.probe_writing()
        database.close()
    except DatabaseOlder as error:
        return Finding("database", "broken", f"{where}: {error.for_operator}", _EXPORT)
    except CascadeError as error:
        return Finding("database", "broken", f"{where}: {error.for_operator}", _OTHER_DATABASE)
    except Exception as error:  # drivers raise anything, a missing one ImportError
        return Finding("database", "broken", f"{where}: {first_line(error)}", _OTHER_DATABASE)
    return Finding("database", "ok", where)


def check_access(settings: Settings) -> Finding:
    """Check that some caller is let in, and none from beyond this machine without an API key."""
    from serve.gateway.auth.exposure import ALL_KEYS_REVOKED, MAKE_A_KEY, check_exposure

    try:
        answered = check_exposure(settings)
        if answered == ALL_KEYS_REVOKED:
            return Finding("access", "warning", answered, MAKE_A_KEY)
        return Finding("access", "ok", answered)
    except SettingsInvalid as error:
        return Finding("access", "broken", str(error), MAKE_A_KEY)
    except CascadeError as error:
        return Finding("access", "broken", error.for_operator, _OTHER_DATABASE)
    except Exception as error:  # drivers raise anything, a missing one ImportError
        return Finding("access", "broken", first_line(error), _OTHER_DATABASE)


def check_moderation(settings: Settings) -> Finding:
    """Check that the blocklist and the checker can be loaded."""
    from serve.moderation.moderator import load_checkers
    from serve.served_models import choose_models, open_models

    chosen = ", ".join(value for value in (settings.blocklist, settings.checker) if value)
    if not chosen:
        return Finding("moderation", "ok", "none; nothing is refused")
    try:
        models = open_models(choose_models(settings.model_sources()))
    except ModelUnavailable:  # not a fault of the checkers
        detail = f"{chosen} cannot be checked, as the model cannot be opened"
        return Finding("moderation", "warning", detail, "cascade models")
    try:
        load_checkers(settings, models)
    except CascadeError as error:
        return Finding("moderation", "broken", str(error), "correct this variable")
    return Finding("moderation", "ok", chosen)


def check_blobs(settings: Settings) -> Finding:
    """Check that the blob store can be written, read and deleted from."""
    from serve.storage.blobs.blob_store import BlobStore
    from serve.store_urls import hide_password

    where = hide_password(settings.blob_url)
    try:
        asyncio.run(BlobStore(settings.blob_url).probe())
    except CascadeError as error:
        return Finding("blob store", "broken", f"{where}: {error.for_operator}", _OTHER_STORE)
    except Exception as error:  # wrong credentials surface as each backend's own errors
        return Finding("blob store", "broken", f"{where}: {first_line(error)}", _OTHER_STORE)
    return Finding("blob store", "ok", where)


def check_studio(_settings: Settings) -> Finding:
    """Check that the page for browsers is complete."""
    from serve.studio.files import PAGE, studio_files

    problem = studio_files().problem
    if problem:
        return Finding("studio", "warning", problem, "make install")
    return Finding("studio", "ok", f"the page is served at {PAGE}")


def check_marks(settings: Settings) -> Finding:
    """Say which marks of machine-made pictures are on, and which rule of the EU asks for them."""
    from serve.provenance.picture_signer import load_signer
    from serve.provenance.signing_key import load_key
    from serve.provenance.watermarks import load_watermarker

    prompts = "with" if settings.prompts_in_files else "without"
    try:
        load_signer(settings)
        key, watermarker = load_key(settings), load_watermarker(settings)
    except SettingsInvalid as error:
        return Finding("marks", "broken", str(error), "correct this variable")
    watermark = f"watermark {watermarker.algorithm}" if watermarker else "no watermark"
    detail = (
        f"files say in XMP that a model made them, {prompts} prompts; "
        f"{'signed' if key else 'not signed'}, {watermark} "
        "(Article 50 of the EU AI Act asks for machine-readable marks since 2026-08-02)"
    )
    if key is None:
        return Finding("marks", "ok", detail)
    return _check_certificate(key.chain_pem, detail)


def _check_certificate(chain_pem: str, detail: str) -> Finding:
    """Warn of a certificate that ends soon: nothing can be made then."""
    from serve.provenance.certificates import ends_at

    end = ends_at(chain_pem)
    detail = f"{detail}; a certificate ends on {end:%Y-%m-%d}"
    if end - datetime.now(UTC) < _ENDS_SOON:
        return Finding("marks", "warning", detail, "renew it, see docs/provenance.md")
    return Finding("marks", "ok", detail)
