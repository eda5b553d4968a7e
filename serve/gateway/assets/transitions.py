"""Leads assets from state to state as a caller asks."""

from __future__ import annotations

import hashlib
from functools import partial

from cascade_core.errors import CascadeError, InvalidRequest
from serve.gateway.assets.sight import actor_of, answer, check_may, find_asset
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.schemas.assets import AssetAnswer, BulkTransition, TransitionBody
from serve.storage.blobs.blob_keys import image_key
from serve.storage.schema.asset_states import ACTIONS


async def transition(
    services: Services, caller: Caller, image_id: str, body: TransitionBody
) -> AssetAnswer:
    """Do what a body asks with one asset; returns it as it is then.

    Args:
        services: of the gateway.
        caller: acts for the ``user`` of the body, if its key may.
        image_id: of the picture.
        body: the action.

    Raises:
        NotFound, Gone: there is no such asset, or its file was lost.
        Forbidden, FourEyes: the caller may not do this.
        InvalidRequest: the action needs a note.
        AssetConflict, AssetDamaged: the asset is not as the action needs it.
    """
    action = ACTIONS[body.action]
    caller = caller.acting_for(body.user)
    asset = await find_asset(services, caller, image_id)
    check_may(caller, asset, action)
    note = body.note.strip()
    if action.needs_note and not note:
        raise InvalidRequest(f"note must say why, to {action.name} an asset", "note")
    actor = await actor_of(services, caller)
    data = await services.blobs.get_known(image_key(asset.id, asset.format), "this image")
    change = partial(
        services.database.assets.change,
        sha256=hashlib.sha256(data).hexdigest(),
        note=note,
        expected_version=body.expected_version,
        may_decide_own=services.settings.self_approval,
    )
    changed = await services.database.run(change, asset.id, action, actor)
    return AssetAnswer.model_validate(answer(services, caller, actor, changed))


async def transition_all(
    services: Services, caller: Caller, body: BulkTransition
) -> list[dict[str, object]]:
    """Do the same with several assets, one after another; returns what became of each."""
    one = TransitionBody(action=body.action, note=body.note, user=body.user)
    results: list[dict[str, object]] = []
    for image_id in dict.fromkeys(body.ids):
        try:
            changed = await transition(services, caller, image_id, one)
            results.append({"id": image_id, "asset": changed, "error": None})
        except CascadeError as error:
            if error.retryable:  # a store does not answer; what was done stays
                raise
            results.append({"id": image_id, "asset": None, "error": error.to_dict()})
    return results
