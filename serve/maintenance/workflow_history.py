"""The workflow engine's own records, which it would keep for ever."""

from __future__ import annotations

from datetime import datetime

from dbos import DBOS

_ENDED = ["SUCCESS", "ERROR", "CANCELLED"]
_BATCH = 500


async def delete_workflows(before: datetime) -> int:
    """Delete the records of workflows that ended before a time; returns how many.

    The jobs themselves stay in our own tables; nothing asks for the records of an ended one.
    """
    count = 0
    while True:  # in small transactions, so that jobs can write in between
        ended = await DBOS.list_workflows_async(
            status=_ENDED,
            completed_before=before.isoformat(),
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if ended:
            await DBOS.delete_workflows_async([workflow.workflow_id for workflow in ended])
        count += len(ended)
        if len(ended) < _BATCH:
            return count
