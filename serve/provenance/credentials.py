"""Reads the signed provenance in a file, which is not trusted, and says what it is worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Literal

from serve.provenance.picture_signer import NO_NETWORK

State = Literal["none", "valid", "trusted", "invalid"]
"""``valid``: unchanged since it was signed, by a key that nothing here vouches for; ``trusted``: by
one that the operator trusts; ``invalid``: changed since, or signed wrongly."""

MAX_LISTED: Final = 50
MAX_CHARS: Final = 256
_STATES: Final[dict[str, State]] = {"Valid": "valid", "Trusted": "trusted"}
_ELSEWHERE: Final = "manifest.inaccessible"
"""C2PA's code for a manifest that is not in the file, but at an address that it names."""
_UNREADABLE: Final = "general.error"
"""C2PA's code for everything without one of its own."""


@dataclass(frozen=True, slots=True)
class Action:
    """What was done to a picture; texts come from the file.

    Attributes:
        action: C2PA's word.
        source_type: IPTC's word for the kind of source; empty: not said.
        software: name and version of what did it; empty: not said.
        model: id and revision of the model that made it; empty: not said.
    """

    action: str
    source_type: str = ""
    software: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A file that a picture was made from.

    Attributes:
        relationship: ``parentOf``, ``inputTo`` or ``componentOf``.
        is_signed: it had provenance of its own.
    """

    relationship: str
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file's manifest says and whether it holds.

    Attributes:
        state: see `State`.
        codes: C2PA's codes of what failed; of a valid one why it is not trusted.
        signer: the name in the certificate.
        signed_at: by a time-stamp authority, ISO 8601; empty: not time-stamped.
        actions, ingredients: at most `MAX_LISTED` of each.
    """

    state: State
    codes: tuple[str, ...] = ()
    signer: str = ""
    signed_at: str = ""
    actions: tuple[Action, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()


class CredentialReader:
    """Reads manifests; methods block, and may be called in several threads at once.

    Args:
        trusted_pem: certificates whose signatures count as trusted.
    """

    def __init__(self, trusted_pem: str = "") -> None:
        import c2pa

        self._c2pa = c2pa
        values: dict[str, Any] = {"verify": NO_NETWORK | {"verify_trust": True}}
        if trusted_pem:
            values["trust"] = {"trust_anchors": trusted_pem}
        self._context = c2pa.Context.from_dict(values)

    def read(self, data: bytes, media_type: str) -> Credentials:
        """Return what the manifest in a PNG, JPEG or WebP file says; nothing is fetched for it."""
        try:
            found = self._c2pa.Reader.try_create(media_type, BytesIO(data), context=self._context)
            if found is None:
                return Credentials("none")
            with found as reader:
                return _credentials(json.loads(reader.json()))
        except self._c2pa.C2paError as error:
            is_elsewhere = str(error).startswith("Remote")
            return Credentials("invalid", (_ELSEWHERE if is_elsewhere else _UNREADABLE,))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Credentials("invalid", (_UNREADABLE,))


def _credentials(report: dict[str, Any]) -> Credentials:
    manifest = report["manifests"][report["active_manifest"]]
    signature = manifest.get("signature_info") or {}
    names = (signature.get("common_name"), signature.get("issuer"))
    return Credentials(
        state=_STATES.get(report.get("validation_state", ""), "invalid"),
        codes=tuple(dict.fromkeys(_failures(report)))[:MAX_LISTED],
        signer=_text(", ".join(name for name in names if name)),
        signed_at=_text(signature.get("time")),
        actions=tuple(_actions(manifest))[:MAX_LISTED],
        ingredients=tuple(
            Ingredient(_text(one.get("relationship")), bool(one.get("active_manifest")))
            for one in manifest.get("ingredients", [])[:MAX_LISTED]
        ),
    )


def _failures(report: dict[str, Any]) -> Iterator[str]:
    results = report.get("validation_results") or {}
    deltas = [one.get("validationDeltas") for one in results.get("ingredientDeltas") or []]
    for part in (results.get("activeManifest"), *deltas):
        for failure in (part or {}).get("failure") or []:
            yield _text(failure.get("code"))


def _actions(manifest: dict[str, Any]) -> Iterator[Action]:
    for assertion in manifest.get("assertions", []):
        if not str(assertion.get("label", "")).startswith("c2pa.actions"):
            continue
        for one in assertion["data"]["actions"][:MAX_LISTED]:
            agent, model = one.get("softwareAgent"), (one.get("parameters") or {}).get("model")
            yield Action(
                _text(one.get("action")),
                _text(one.get("digitalSourceType")),
                _named(agent, "name", "version"),
                _named(model, "id", "revision"),
            )


def _named(value: object, *names: str) -> str:
    if isinstance(value, dict):
        return _text(" ".join(str(value[name]) for name in names if value.get(name)))
    return _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(sign if sign.isprintable() else " " for sign in text[:MAX_CHARS])
