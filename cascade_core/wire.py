"""Versioned msgpack messages with bounded size and depth; never pickle.

A message is the map ``{"v": 1, "kind": str, "body": map}``. Tensors inside a body are byte strings,
so a message needs few containers and the bounds below can be tight.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

import msgpack

from cascade_core.errors import WireError

WIRE_VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 6
MAX_ITEMS = 64
MAX_CONTAINERS = 128
MAX_TEXT_CHARS = 16 * 1024

_UTF8_BYTES_PER_CHAR = 4
# Tuples: a union would be built anew for each value that is checked.
_CONTAINERS: Final = (dict, list)
_SCALARS: Final = (bytes, int, float, NoneType)


def pack(kind: str, body: dict[str, Any]) -> bytes:
    """Encode a message that :func:`unpack` accepts.

    Raises:
        WireError: the body holds something that is not plain data, or too much of it.
    """
    message = {"v": WIRE_VERSION, "kind": kind, "body": body}
    _check_plain(message, MAX_DEPTH, _Budget())
    try:
        data: bytes = msgpack.packb(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot encode {kind}: {error}") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{kind} is {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return data


def unpack(kind: str, data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> dict[str, Any]:
    """Decode a message of the expected kind and return its body.

    Memory stays within a small multiple of ``len(data)``: sizes claimed inside are checked before
    anything is allocated for them, and containers are counted while they are built.

    Raises:
        WireError: truncated, oversize, nested too deeply, trailing bytes, unknown version, other
            kind, or not msgpack at all.
    """
    if len(data) > max_bytes:
        raise WireError(f"message is {len(data)} bytes, the limit is {max_bytes}")
    budget = _Budget()
    try:
        message = msgpack.unpackb(
            data,
            object_pairs_hook=budget.spend_on_map,
            list_hook=budget.spend_on_list,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_str_len=MAX_TEXT_CHARS * _UTF8_BYTES_PER_CHAR,
            max_bin_len=max_bytes,
            max_ext_len=0,
            strict_map_key=True,
        )
    except msgpack.ExtraData as error:
        raise WireError("trailing bytes after the message") from error
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise WireError(f"not a valid message: {type(error).__name__}") from error
    _check_plain(message, MAX_DEPTH, _Budget())
    return _body_of(kind, message)


class _Budget:
    """Counts maps and lists while they are built: 16 MiB of ``[]`` would become 1 GiB of lists."""

    def __init__(self) -> None:
        self._left = MAX_CONTAINERS

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError(f"more than {MAX_CONTAINERS} maps and lists")

    def spend_on_list(self, items: list[object]) -> list[object]:
        self.spend()
        return items

    def spend_on_map(self, pairs: list[tuple[object, object]]) -> dict[object, object]:
        self.spend()
        body = dict(pairs)
        if len(body) != len(pairs):
            raise WireError("a map names a field twice")
        return body


def _check_plain(value: object, depth_left: int, budget: _Budget) -> None:
    """Refuse what is not plain data, nested too deeply or too much."""
    if isinstance(value, _CONTAINERS):
        _check_container(value, depth_left, budget)
    elif isinstance(value, str):
        if len(value) > MAX_TEXT_CHARS:
            raise WireError(f"text is longer than {MAX_TEXT_CHARS} characters")
    elif not isinstance(value, _SCALARS):
        raise WireError(f"{type(value).__name__} is not plain data")


def _check_container(
    value: dict[object, object] | list[object], depth_left: int, budget: _Budget
) -> None:
    if depth_left == 0:
        raise WireError(f"nested deeper than {MAX_DEPTH}")
    if len(value) > MAX_ITEMS:
        raise WireError(f"a map or list holds more than {MAX_ITEMS} items")
    budget.spend()
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise WireError("field names must be text")
    for item in value.values() if isinstance(value, dict) else value:
        _check_plain(item, depth_left - 1, budget)


def _body_of(kind: str, message: object) -> dict[str, Any]:
    if not isinstance(message, dict) or message.keys() != {"v", "kind", "body"}:
        raise WireError("not a message of this service")
    version = message["v"]
    if type(version) is not int or version != WIRE_VERSION:
        raise WireError(f"unknown version {_shown(version)}, this is {WIRE_VERSION}")
    if message["kind"] != kind:
        raise WireError(f"expected {kind}, got {_shown(message['kind'])}")
    body = message["body"]
    if not isinstance(body, dict):
        raise WireError("body must be a map")
    return body


def _shown(value: object) -> str:
    """Return a short form of a value for an error message, never a long text."""
    return str(value)[:40] if isinstance(value, str | int) else type(value).__name__
