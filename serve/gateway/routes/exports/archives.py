"""``POST /v1/exports``: pictures in the forms that channels take, in one zip archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.responses import Response, StreamingResponse

from serve.gateway.assets.sight import actor_of
from serve.gateway.auth.permissions import Viewer
from serve.gateway.dependencies import HeldOpen, ServicesDep
from serve.gateway.exports.archive import Export
from serve.gateway.exports.bodies import ExportBody
from serve.gateway.exports.file_names import check_template
from serve.gateway.exports.pictures import wanted_ids
from serve.gateway.exports.presets import named_presets
from serve.gateway.openapi import new_router, secured
from serve.storage.records import utc_now

EXPORT = "export"
"""The action in the audit log."""

router = new_router("exports")


@router.post(
    "/v1/exports",
    response_class=Response,
    responses={
        200: {
            "description": "The archive",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **secured(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.GONE,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def export_pictures(
    services: ServicesDep, caller: Viewer, _held: HeldOpen, body: ExportBody
) -> Response:
    """Export pictures in the forms of presets, in a zip archive that says what they are.

    `manifest.json` and `manifest.csv` name each file with its SHA-256, picture, seeds, model,
    licence, cost, state, approver and credentials, and what could not be made; `models/` has the
    models' passports. Renditions are signed where the service signs. The export is recorded in the
    audit log before the first byte is sent.
    """
    if body.name is not None:
        check_template(body.name, "name")
    presets = await named_presets(services, body.presets)
    ids = await wanted_ids(services, caller, body)
    actor = await actor_of(services, caller)
    details = {"assets": ids, "presets": body.presets, "originals": body.originals or not presets}
    audit_hash = await services.database.run(services.database.audit.record, EXPORT, actor, details)
    pieces = Export(services, caller, actor, body, presets).pieces(ids, audit_hash)
    first = await anext(pieces)  # a store that does not answer is told by the status
    name = f"export-{utc_now():%Y-%m-%d}.zip"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(
        _all_pieces(first, pieces), media_type="application/zip", headers=headers
    )


async def _all_pieces(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
