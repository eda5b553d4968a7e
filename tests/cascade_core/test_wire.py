import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core import wire
from cascade_core.errors import WireError

KIND = "note"


def envelope(**changes: Any) -> bytes:
    message = {"v": wire.WIRE_VERSION, "kind": KIND, "body": {"a": 1}} | changes
    return bytes(msgpack.packb(message))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
bodies = st.dictionaries(names, values, max_size=6)


@given(bodies)
def test_what_can_be_packed_comes_back_unchanged(body: dict[str, Any]) -> None:
    try:
        data = wire.pack(KIND, body)
    except WireError as error:
        assert "nested" in str(error)  # noqa: PT017
        return

    assert wire.unpack(KIND, data) == body


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_wire_errors(data: bytes) -> None:
    with pytest.raises(WireError):
        wire.unpack(KIND, data)


@given(bodies, st.data())
def test_every_truncation_is_refused(body: dict[str, Any], data: st.DataObject) -> None:
    message = envelope(body=body)
    length = data.draw(st.integers(0, len(message) - 1))

    with pytest.raises(WireError):
        wire.unpack(KIND, message[:length])


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(envelope() + b"\0", id="trailing byte"),
        pytest.param(envelope() * 2, id="two messages"),
        pytest.param(envelope(v=2), id="newer version"),
        pytest.param(envelope(v=True), id="version true"),
        pytest.param(envelope(v=1.0), id="version 1.0"),
        pytest.param(envelope(v=[1]), id="version list"),
        pytest.param(envelope(kind="letter"), id="other kind"),
        pytest.param(envelope(kind=b"note"), id="kind as bytes"),
        pytest.param(envelope(kind=[]), id="kind list"),
        pytest.param(envelope(body=[]), id="body list"),
        pytest.param(envelope(more=1), id="more fields"),
        pytest.param(msgpack.packb({"v": 1, "kind": KIND}), id="no body"),
        pytest.param(envelope(body={"a": nested(wire.MAX_DEPTH - 1)}), id="too deep"),
        pytest.param(envelope(body={"a": nested(500)}), id="much too deep"),
        pytest.param(b"\x91" * 100_000 + b"\0", id="absurdly deep"),
        pytest.param(envelope(body={"a": [0] * 65}), id="too many items"),
        pytest.param(envelope(body={str(i): 0 for i in range(65)}), id="too many fields"),
        pytest.param(envelope(body={"a": [[[]] * 64] * 3}), id="too many lists"),
        pytest.param(envelope(body={"a": "x" * 16_385}), id="too long text"),
        pytest.param(envelope(body={1: 2}), id="integer as field name"),
        pytest.param(envelope(body={b"a": 2}), id="bytes as field name"),
        pytest.param(envelope(body={"a": {None: 2}}), id="nil as field name"),
        pytest.param(envelope(body={"a": msgpack.Timestamp(1, 1)}), id="timestamp"),
        pytest.param(envelope(body={"a": msgpack.ExtType(5, b"")}), id="empty extension"),
        pytest.param(envelope(body={"a": msgpack.ExtType(5, b"x" * 9)}), id="extension"),
        pytest.param(
            envelope().replace(b"\x81\xa1a\x01", b"\x82\xa1a\x01\xa1a\x02"), id="a field twice"
        ),
        pytest.param(envelope().replace(b"\xa1a", b"\xa1\xff"), id="text that is no UTF-8"),
        pytest.param(envelope().replace(b"\xa1a", b"\xa3\xed\xa0\x80"), id="surrogate"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        wire.unpack(KIND, message)


def test_the_same_message_without_a_flaw_is_taken() -> None:
    assert wire.unpack(KIND, envelope()) == {"a": 1}
    assert wire.unpack(KIND, envelope(body={"a": nested(wire.MAX_DEPTH - 2)}))
    assert wire.unpack(KIND, envelope(body={"a": [[]] * 64, "b": "x" * 16_384}))


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a": (1, 2)}, {"a": object()}, {"a": 2**64}, {"a": "\ud800"}, {"a": {1}}],
    ids=["integer name", "tuple", "object", "huge integer", "surrogate", "set"],
)
def test_what_is_not_plain_data_cannot_be_packed(value: Any) -> None:
    with pytest.raises(WireError):
        wire.pack(KIND, value)


def test_messages_over_the_limit_are_refused_on_both_sides() -> None:
    data = b"\0" * wire.MAX_MESSAGE_BYTES

    with pytest.raises(WireError, match="limit"):
        wire.pack(KIND, {"data": data})
    with pytest.raises(WireError, match="limit"):
        wire.unpack(KIND, envelope(body={"data": data}))
    with pytest.raises(WireError, match="limit"):
        wire.unpack(KIND, envelope(body={"data": b"\0" * 100}), max_bytes=100)


def huge_claim(tag: bytes) -> bytes:
    return b"\x81\xa1a" + tag + b"\xff\xff\xff\xff" + b"\0" * 100


def lists_of_lists() -> bytes:
    inner = b"\xdc\x00\x40" + b"\x90" * 64
    return (b"\xdc\x00\x40" + inner * 64) * 500


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: huge_claim(b"\xc6"), id="claims 4 GiB of bytes"),
        pytest.param(lambda: huge_claim(b"\xdb"), id="claims 4 GiB of text"),
        pytest.param(lambda: huge_claim(b"\xdd"), id="claims 4 billion items"),
        pytest.param(lambda: huge_claim(b"\xdf"), id="claims 4 billion fields"),
        pytest.param(lambda: huge_claim(b"\xc9"), id="claims 4 GiB of extension"),
        pytest.param(lambda: b"\xdc\x00\x40" + lists_of_lists(), id="2 million lists"),
        pytest.param(lambda: b"\xdc\x00\x40" * 1_000_000, id="a million open lists"),
        pytest.param(lambda: envelope(kind=b"\xff" * 2**21), id="2 MiB for a kind"),
        pytest.param(lambda: envelope(v=b"\xff" * 2**21), id="2 MiB for a version"),
    ],
)
def test_hostile_messages_take_little_memory(make: Callable[[], bytes]) -> None:
    message = make()
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            wire.unpack(KIND, message)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 2 * len(message) + 2**20
