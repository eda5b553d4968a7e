"""``/v1/exports/presets``: the forms that exports take."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from serve.gateway.auth.permissions import Publisher, Reader
from serve.gateway.dependencies import ServicesDep
from serve.gateway.exports.bodies import PresetAnswer, PresetBody, PresetList
from serve.gateway.exports.presets import all_presets, check_preset, preset_answer
from serve.gateway.lookups import check_id
from serve.gateway.openapi import new_router, secured

router = new_router("exports")


@router.get("/v1/exports/presets", response_model=PresetList, responses=secured())
async def list_presets(services: ServicesDep, _caller: Reader) -> PresetList:
    """List the presets of exports: those of every service, and those that people have added."""
    known = await all_presets(services)
    return PresetList(presets=[preset_answer(known[name]) for name in sorted(known)])


@router.put(
    "/v1/exports/presets/{preset_name}",
    response_model=PresetAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def put_preset(
    services: ServicesDep, _caller: Publisher, preset_name: str, body: PresetBody
) -> PresetAnswer:
    """Add a preset, or replace one; needs the scope `publish`. Built-in ones stay as they are."""
    check_preset(check_id("preset", preset_name), body)
    stored = services.database.export_presets
    await services.database.run(stored.put, preset_name, body.model_dump())
    return preset_answer((await all_presets(services))[preset_name])


@router.delete(
    "/v1/exports/presets/{preset_name}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={204: {"description": "Deleted"}, **secured(HTTPStatus.NOT_FOUND)},
)
async def delete_preset(services: ServicesDep, _caller: Publisher, preset_name: str) -> Response:
    """Delete a preset, again without an error; needs the scope `publish`."""
    stored = services.database.export_presets
    await services.database.run(stored.delete, check_id("preset", preset_name))
    return Response(status_code=HTTPStatus.NO_CONTENT)
