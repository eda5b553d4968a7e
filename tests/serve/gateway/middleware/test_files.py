"""Senders of files are checked before their files are read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from serve.gateway.dependencies import Services
from serve.gateway.limits import StreamLimiter
from serve.gateway.middleware.requests import UPLOAD_LIMITS, UPLOADS, VERIFY
from serve.storage.access.credentials import KeyScope
from serve.storage.blobs.converted_images import Conversions
from tests.serve.conftest import Bearer

SCOPES: dict[str, tuple[KeyScope, KeyScope]] = {VERIFY: ("read", "create")}
"""The scope that a path needs, and one that does not do; others need to create."""


class Body:
    """A body that remembers whether it was asked for."""

    is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_read = True
        yield bytes(1024)


@pytest.fixture
def body() -> Body:
    return Body()


async def sent(
    client: httpx.AsyncClient, path: str, body: Body, headers: dict[str, str]
) -> httpx.Response:
    form = {"content-type": "multipart/form-data; boundary=x"}
    return await client.post(path, content=body, headers=headers | form)


@pytest.mark.parametrize("path", UPLOAD_LIMITS)
async def test_a_file_of_a_key_without_the_scope_is_not_read(
    client: httpx.AsyncClient, bearer: Bearer, path: str, body: Body
) -> None:
    wanted, other = SCOPES.get(path, ("create", "read"))
    answer = await sent(client, path, body, bearer(other))

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert f"'{wanted}'" in answer.json()["error"]["message"]
    assert not body.is_read


@pytest.mark.parametrize("path", UPLOAD_LIMITS)
async def test_a_file_beyond_what_a_key_may_hold_open_is_not_read(
    client: httpx.AsyncClient, bearer: Bearer, services: Services, path: str, body: Body
) -> None:
    services.stream_limiter = StreamLimiter(total=2, per_key=1)
    key = bearer(SCOPES.get(path, ("create", "read"))[0])
    [key_id] = await services.key_cache.keys()
    with services.stream_limiter.hold(key_id):
        answer = await sent(client, path, body, key)
        assert (answer.status_code, body.is_read) == (429, False)
    await sent(client, path, body, key)
    assert body.is_read
    assert services.stream_limiter.count == 0


@pytest.mark.parametrize("path", [UPLOADS, VERIFY])
async def test_a_file_is_not_read_where_too_many_are_being_decoded(
    client: httpx.AsyncClient, services: Services, path: str, body: Body
) -> None:
    services.upload_decoding = Conversions(threads=1, max_conversions=0)

    answer = await sent(client, path, body, {})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert not body.is_read
