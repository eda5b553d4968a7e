"""``/v1/library/zip``: many pictures in one file, with what is known of them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from cascade_core.errors import Gone, InvalidRequest, NotFound
from serve.gateway.auth.permissions import Caller, Viewer
from serve.gateway.dependencies import HeldOpen, Services, ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.routes.library.search import SearchQuery
from serve.gateway.routes.library.zip_stream import ZipStream
from serve.storage.blobs.blob_keys import image_key
from serve.storage.library.picture_record import PictureRecord
from serve.storage.library.query import LibraryQuery
from serve.storage.library.words import words_of
from serve.storage.records import utc_now

MAX_PICTURES: Final = 1000
MAX_IDS: Final = 250
"""In one address: with more of them it would be too long for some proxies."""
_NAME_CHARS = 40
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets compute cells that begin so."""

router = new_router("library")


@router.get(
    "/v1/library/zip",
    response_class=Response,
    responses={
        200: {
            "description": "The archive",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)
async def download_pictures(
    services: ServicesDep,
    caller: Viewer,
    _held: HeldOpen,
    q: SearchQuery = "",
    ids: Annotated[
        str, Query(description=f"Instead of `q`: up to {MAX_IDS} ids of images, with commas.")
    ] = "",
) -> Response:
    """Download up to 1,000 images in a zip archive, with `metadata.json` and `metadata.csv`.

    The original files are in it, newest first. A browser downloads it by a link.
    """
    wanted = await _wanted_ids(services, caller, q, ids)
    pieces = _pieces(services, caller, wanted)
    first = await anext(pieces)  # a store that does not answer is told by the status
    name = f"pictures-{utc_now():%Y-%m-%d}.zip"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(
        _all_pieces(first, pieces), media_type="application/zip", headers=headers
    )


async def _wanted_ids(services: Services, caller: Caller, q: str, ids: str) -> list[str]:
    pictures = services.database.pictures
    if not ids:
        query, most = LibraryQuery.parse(q), MAX_PICTURES + 1
        found = await services.database.run(pictures.found_ids, caller.viewpoint, query, most)
        if len(found) > MAX_PICTURES:
            message = (
                f"q finds more than {MAX_PICTURES} images; narrow it, as by after: and before:"
            )
            raise InvalidRequest(message, "q")
        return found
    asked = ids.split(",")
    if q or len(asked) > MAX_IDS:
        raise InvalidRequest(f"ids takes up to {MAX_IDS} ids, without q", "ids")
    seen = await services.database.run(pictures.seen_ids, caller.viewpoint, asked)
    if len(seen) < len(set(asked)):
        raise NotFound("there is no such image", "ids")
    return seen


async def _pieces(services: Services, caller: Caller, ids: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield the archive, a piece for each picture; one picture at a time is in memory."""
    archive, listed = ZipStream(), []
    for image_id in ids:
        find = services.database.library.record
        record = await services.database.run(find, caller.viewpoint, image_id)
        if record is None:  # deleted since
            continue
        key, name = image_key(image_id, record.image_format), _file_name(record)
        try:
            data = await services.blobs.get_known(key, "this image")
        except Gone:
            listed.append({"file": None, **record.to_json()})
            continue
        listed.append({"file": name, **record.to_json()})
        yield await asyncio.to_thread(archive.add, name, data, record.item.created_at)
    for name, text in (("metadata.json", _json(listed)), ("metadata.csv", _csv(listed))):
        yield archive.add(name, text.encode(), utc_now())
    yield archive.end()


async def _all_pieces(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _file_name(record: PictureRecord) -> str:
    """Return a name that every system takes: words of the prompt in ASCII, and the id."""
    words = "-".join(word for word in words_of(record.item.prompt) if word.isascii())
    start = words[:_NAME_CHARS].strip("-")
    return f"{start or 'picture'}-{record.item.id}.{record.image_format}"


def _json(listed: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"images": listed}, ensure_ascii=False, indent=1)


def _csv(listed: Sequence[Mapping[str, Any]]) -> str:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    if listed:
        writer.writerow(listed[0])
        writer.writerows([_cell(value) for value in picture.values()] for picture in listed)
    return table.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
