"""Discord's own OpenAPI document as the judge of what the bot and the emulator say.

The document (https://github.com/discord/discord-api-spec, MIT) is no part of this repository.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.wire.fake_discord.traffic import Exchange, Frame, Traffic

DOCUMENT = Path(__file__).parents[4] / "shared" / "data" / "discord" / "openapi.json"
NOTICE = f"Discord's OpenAPI document is not at {DOCUMENT}: traffic is not checked against it"
_URI = "discord:openapi"
_IDS = ("recipient_id", "message_id", "channel_id", "guild_id")


class Oracle:
    """Finds what does not agree with the document."""

    def __init__(self, document: dict[str, Any]) -> None:
        # The document's unions overlap, so that "one of" means "any of" there.
        self._document = _any_of(document)
        resource = Resource.from_contents(self._document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)
        paths = sorted(self._document["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", p)), p) for p in paths]
        self._validator = cache(self._make_validator)

    def findings(self, traffic: Traffic) -> list[str]:
        """Return what is wrong, each thing once; answers that a test injected are not judged."""
        found = [line for exchange in traffic.rest for line in self._of_exchange(exchange)]
        found += [line for frame in traffic.sent for line in self._of_event(frame)]
        return list(dict.fromkeys(found))

    def _of_exchange(self, exchange: Exchange) -> list[str]:
        path = next((path for rule, path in self._paths if rule.fullmatch(exchange.path)), "")
        method = exchange.method.lower()
        operation = self._document["paths"].get(path, {}).get(method)
        if operation is None:
            return [f"{exchange.method} {exchange.path} is no operation of Discord's"]
        found = []
        is_refused = exchange.status == 400  # that it is wrong is agreed
        if exchange.json is not None and "requestBody" in operation and not is_refused:
            pointer = f"{_pointer(path, method)}/requestBody/content/application~1json/schema"
            sent = _with_text_ids(exchange.json)
            found += [f"request: {line}" for line in self._check(pointer, sent)]
        if exchange.status is not None and not exchange.is_injected:
            found += self._of_answer(exchange, path, operation["responses"])
        return [f"{exchange.method} {path}: {line}" for line in found]

    def _of_answer(self, exchange: Exchange, path: str, answers: dict[str, Any]) -> list[str]:
        status = str(exchange.status)
        known = next((key for key in (status, f"{status[0]}XX") if key in answers), None)
        if known is None:
            return [f"status {status} is none of {list(answers)}"]
        if exchange.response is None:
            return []
        pointer = f"{_pointer(path, exchange.method.lower())}/responses/{known}"
        if "$ref" in answers[known]:
            pointer = answers[known]["$ref"]
        pointer += "/content/application~1json/schema"
        judged = exchange.response
        if status == "400":  # the document knows numbers alone where fields' errors have names
            judged = {name: value for name, value in judged.items() if name != "errors"}
        return [f"answer {status}: {line}" for line in self._check(pointer, judged)]

    def _of_event(self, frame: Frame) -> list[str]:
        messages = [frame.data] if frame.event in ("MESSAGE_CREATE", "MESSAGE_UPDATE") else []
        if frame.event == "INTERACTION_CREATE":
            messages = [frame.data["message"]] if "message" in frame.data else []
            messages += frame.data["data"].get("resolved", {}).get("messages", {}).values()
        pointer = "#/components/schemas/MessageResponse"
        lines = [line for message in messages for line in self._check(pointer, message)]
        return [f"{frame.event}: {line}" for line in lines]

    def _check(self, pointer: str, value: Any) -> list[str]:
        return [_line(_leaf(error)) for error in self._validator(pointer).iter_errors(value)]

    def _make_validator(self, pointer: str) -> Draft202012Validator:
        schema = {"$ref": f"{_URI}{pointer}"}
        return Draft202012Validator(schema, registry=self._registry)


def load() -> Oracle | None:
    """Return the oracle, or None where the document is not at hand."""
    if not DOCUMENT.exists():
        return None
    return Oracle(json.loads(DOCUMENT.read_text()))


def _any_of(node: Any) -> Any:
    if isinstance(node, dict):
        return {("anyOf" if name == "oneOf" else name): _any_of(n) for name, n in node.items()}
    return [_any_of(child) for child in node] if isinstance(node, list) else node


def _pointer(path: str, method: str) -> str:
    escaped = path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    return f"#/paths/{escaped}/{method}"


def _leaf(error: ValidationError) -> ValidationError:
    """Return the deepest reason of an error: in a union that of the branch that was meant."""
    if not error.context:
        return error
    branches: dict[Any, list[ValidationError]] = {}
    for cause in error.context:
        branches.setdefault(cause.schema_path[0], []).append(cause)
    meant = [b for b in branches.values() if not any(list(e.relative_path) == ["type"] for e in b)]
    causes = [cause for branch in (meant or branches.values()) for cause in branch]
    return max((_leaf(cause) for cause in causes), key=lambda e: len(e.absolute_path))


def _with_text_ids(body: Any) -> Any:
    """Return a request with Discord's ids as text.

    discord.py sends some as numbers, as Discord's own examples do; the document knows text alone.
    """
    if isinstance(body, list):
        return [_with_text_ids(item) for item in body]
    if not isinstance(body, dict):
        return body
    kept = {name: _with_text_ids(value) for name, value in body.items()}
    kept |= {name: str(body[name]) for name in _IDS if isinstance(body.get(name), int)}
    if isinstance(body.get("attachments"), list):
        kept["attachments"] = [a | {"id": str(a["id"])} for a in body["attachments"]]
    return kept


def _line(error: ValidationError) -> str:
    return f"{'/'.join(map(str, error.absolute_path))}: {error.message[:160]}"
