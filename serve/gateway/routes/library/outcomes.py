"""What became of many pictures, as an answer."""

from __future__ import annotations

from cascade_core.errors import CascadeError, NotFound
from serve.gateway.schemas.boards import BulkAnswer, Failure
from serve.storage.library.picture_changes import Outcome


def bulk_answer(outcome: Outcome, impossible: CascadeError) -> BulkAnswer:
    """Return the answer to a change of many pictures.

    Args:
        outcome: what became of them.
        impossible: the error of those that could not be changed.
    """
    missing = NotFound("there is no such image")
    return BulkAnswer(
        changed=outcome.changed,
        failed=[
            *(_failure(image_id, missing) for image_id in outcome.missing_ids),
            *(_failure(image_id, impossible) for image_id in outcome.impossible_ids),
        ],
        more=outcome.has_more,
    )


def _failure(image_id: str, error: CascadeError) -> Failure:
    return Failure(id=image_id, code=error.code, message=error.message)
