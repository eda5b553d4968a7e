"""What other stores ask of assets within their transactions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select

from cascade_core.errors import AssetProtected
from serve.storage.assets.audit_log import erase_notes
from serve.storage.schema.asset_states import PROTECTED
from serve.storage.schema.asset_tables import asset_comments, assets


def is_protected(image_id: Any) -> ColumnElement[bool]:
    """Return the condition of pictures that are neither deleted nor removed by retention.

    Args:
        image_id: their column, or the id of one picture.
    """
    query = select(assets.c.image_id).where(assets.c.image_id == image_id)
    return query.where(assets.c.state.in_(sorted(PROTECTED))).exists()


def check_deletable(connection: Connection, image_id: str) -> None:
    """Check that a picture, which this transaction has locked, may be deleted.

    Raises:
        AssetProtected: its state forbids it.
    """
    query = select(assets.c.state).where(assets.c.image_id == image_id, is_protected(image_id))
    state = connection.execute(query).scalar()
    if state is not None:
        raise AssetProtected(
            f"this picture is {state}: withdraw or reject it first, or let an administrator purge "
            "it with `cascade assets purge`"
        )


def forget_asset(connection: Connection, image_id: str) -> bool:
    """Remove the state, the comments and the notes of a picture; its audit events stay.

    Returns:
        False if there was none of them.
    """
    erase_notes(connection, image_id)
    comments = delete(asset_comments).where(asset_comments.c.image_id == image_id)
    state = delete(assets).where(assets.c.image_id == image_id)
    return sum(connection.execute(one).rowcount for one in (comments, state)) > 0
