"""Versioned msgpack messages with bounded size and depth; never pickle.

A message is the map ``{"v": 1, "kind": str, "body": map}``. Tensors inside a body are byte strings,
so a message needs few containers and the bounds below can be tight.
"""

from __future__ import annotations

from typing import Any

import msgpack

from cascade_core.errors import WireError

WIRE_VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 6
MAX_ITEMS = 64
MAX_TEXT_BYTES = 64 * 1024


def pack(kind: str, body: dict[str, Any]) -> bytes:
    """Encode a message.

    Raises:
        WireError: the body holds something that is not plain data, or is too big.
    """
    try:
        data: bytes = msgpack.packb({"v": WIRE_VERSION, "kind": kind, "body": body})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"cannot encode {kind}: {error}") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{kind} is {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return data


def unpack(kind: str, data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> dict[str, Any]:
    """Decode a message of the expected kind and return its body.

    Memory stays within a small multiple of ``len(data)``: sizes claimed inside are checked before
    anything is allocated for them.

    Raises:
        WireError: truncated, oversize, nested too deeply, trailing bytes, unknown version, other
            kind, or not msgpack at all.
    """
    if len(data) > max_bytes:
        raise WireError(f"message is {len(data)} bytes, the limit is {max_bytes}")
    try:
        message = msgpack.unpackb(
            data,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=max_bytes,
            max_ext_len=0,
            strict_map_key=True,
        )
    except msgpack.ExtraData as error:
        raise WireError("trailing bytes after the message") from error
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise WireError(f"not a valid message: {type(error).__name__}") from error
    return _check(kind, message)


def _check(kind: str, message: object) -> dict[str, Any]:
    if not isinstance(message, dict) or message.keys() != {"v", "kind", "body"}:
        raise WireError("not a message of this service")
    if message["v"] != WIRE_VERSION:
        raise WireError(f"unknown version {str(message['v'])[:20]}, this is {WIRE_VERSION}")
    if message["kind"] != kind:
        raise WireError(f"expected {kind}, got {str(message['kind'])[:40]}")
    body = message["body"]
    if not isinstance(body, dict):
        raise WireError("body must be a map")
    _check_depth(body, MAX_DEPTH)
    return body


def _check_depth(value: object, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise WireError(f"nested deeper than {MAX_DEPTH}")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, left - 1)
