"""``/v1/audit``: what was done with assets, and whether the log of it is sound."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query

from serve.gateway.auth.permissions import Publisher
from serve.gateway.dependencies import ServicesDep
from serve.gateway.openapi import new_router, secured
from serve.gateway.schemas.assets import AuditPage, EventAnswer

MAX_PAGE = 500

router = new_router("assets")


@router.get("/v1/audit", response_model=AuditPage, responses=secured(HTTPStatus.BAD_REQUEST))
async def list_events(
    services: ServicesDep,
    _caller: Publisher,
    asset: Annotated[
        str | None, Query(description="Of this asset alone.", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    ] = None,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}\.[0-9]{1,9}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> AuditPage:
    """List the events of the audit log, newest first; needs the scope `publish`.

    `cascade audit verify` checks that none was changed, moved or removed.
    """
    page = services.database.audit.page
    found = await services.database.run(page, asset, cursor, limit + 1)
    return AuditPage(
        events=[EventAnswer.model_validate(one.to_json()) for one in found[:limit]],
        next_cursor=found[limit - 1].id if len(found) > limit else None,
    )
