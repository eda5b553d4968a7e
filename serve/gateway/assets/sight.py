"""What a caller sees of assets, what it may do with them, and the actor that it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cascade_core.errors import Forbidden, NotFound
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.lookups import check_id, find_image
from serve.storage.assets.asset import LOCAL, Actor, Asset
from serve.storage.assets.asset_store import AssetView
from serve.storage.records import ImageRow
from serve.storage.schema.asset_states import ACTIONS, DRAFT, SHARED, STATES, AssetAction

_REVIEWED = frozenset(STATES) - {DRAFT}


def view_of(services: Services, caller: Caller) -> AssetView:
    """Return which assets a caller sees: its own, those for reviewers, those shared with all."""
    states = SHARED if services.settings.share_approved else frozenset()
    if caller.scopes & {"review", "publish", "admin"}:
        states = _REVIEWED
    return AssetView(caller.viewpoint, states)


async def find_asset(services: Services, caller: Caller, image_id: str) -> Asset:
    """Return an asset; a picture that was never submitted is a draft.

    Raises:
        NotFound: there is none under this id, or the caller does not see it.
    """
    find = services.database.assets.get
    asset = await services.database.run(find, check_id("asset", image_id))
    if asset is None or not _sees(services, caller, asset):
        raise NotFound("there is no such asset")
    return asset


async def actor_of(services: Services, caller: Caller) -> Actor:
    """Return a caller as the log names it.

    Raises:
        NotReady: the database does not answer.
    """
    if caller.key_id is None:
        return Actor(None, LOCAL, caller.user)
    keys = await services.key_cache.keys()
    return Actor(caller.key_id, keys[caller.key_id].name, caller.user)


def check_may(caller: Caller, asset: Asset, action: AssetAction) -> None:
    """Check that a caller may do something with an asset that it sees, in some state of it.

    Raises:
        Forbidden: its key lacks the scope, or the picture belongs to another owner.
    """
    caller.require(action.scope)
    if action.is_owners and not caller.sees(asset.owner):
        raise Forbidden(f"the picture's owner alone may {action.name} it")


def answer(services: Services, caller: Caller, actor: Actor, asset: Asset) -> dict[str, Any]:
    """Return an asset's HTTP form for a caller, with what it may do now."""
    return asset.to_json() | {
        "actions": [
            action.name
            for action in ACTIONS.values()
            if asset.state in action.sources and _may(services, caller, actor, asset, action)
        ],
        "mine": caller.sees(asset.owner),
    }


def _may(
    services: Services, caller: Caller, actor: Actor, asset: Asset, action: AssetAction
) -> bool:
    try:
        check_may(caller, asset, action)
    except Forbidden:
        return False
    return not action.needs_other or services.settings.self_approval or asset.may_be_decided(actor)


def _sees(services: Services, caller: Caller, asset: Asset) -> bool:
    if caller.sees(asset.owner):
        return True
    return asset.state in view_of(services, caller).states


def restricted(caller: Caller) -> Caller:
    """Return a caller that shows an end user no more than that user may see."""
    return caller if caller.user is None else replace(caller, scopes=frozenset({"read"}))


async def find_seen_image(services: Services, caller: Caller, image_id: str) -> ImageRow:
    """Return an image that is the caller's own, or that it sees as an asset; also a deleted one.

    For an end user, a key that may review does not show what that user could not see.

    Raises:
        NotFound: there is none under this id, or the caller does not see it.
    """
    check_id("image", image_id)
    try:
        return await find_image(services, caller, image_id)
    except NotFound:
        state = await services.database.run(services.database.assets.state, image_id)
        image = await services.database.run(services.database.images.get, image_id)
        if image is None or state not in view_of(services, restricted(caller)).states:
            raise
    return image
