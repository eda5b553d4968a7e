"""The examples of comparisons that the OpenAPI document shows, by schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_core.families.spec import Family

_ID = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
_BODY: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "models": ["demo", "demo-flow"],
    "seed": 7,
}
_SETTINGS: dict[str, Any] = {
    "prompt": "a red circle",
    "settings": [{"steps": 8}, {"steps": 20}],
    "n": 2,
}
_VOTE: dict[str, Any] = {
    "pair": 0,
    "choice": "left",
    "left": {"entry": 1, "model": "demo-flow", "settings": {"model": "demo-flow"}},
    "right": {"entry": 0, "model": "demo", "settings": {"model": "demo"}},
    "preferred": 1,
    "tally": {"votes": [3, 1], "same": 1},
}
_EVENTS = """id: 45
event: progress
data: {"job_id":"01JX...","stage":"STAGE","step":3,"steps":20,"index":0}

id: 47
event: succeeded
data: {"job_id":"01JX...","job":{"id":"01JX...","state":"succeeded"}}

event: ended
data: {"id":"01JW...","state":"ended"}

"""


def comparison_events_example(family: Family) -> str:
    """Return the example of the event stream of a comparison."""
    return _EVENTS.replace("STAGE", family.names[0])


def comparison_examples(job: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the examples of each schema.

    Args:
        job: the example of a job, which stands for each entry's.
    """
    took = {"seconds": None, "compute_s": 0.0, "price": None, "bytes": None}
    entries = [{"model": name, "settings": {"model": name}, "job": job} for name in _BODY["models"]]
    answer = {
        "id": _ID,
        "created_at": "2026-01-31T12:00:00.000Z",
        "prompt": _BODY["prompt"],
        "seed": 7,
        "n": 1,
        "state": "running",
        "entries": [entry | took for entry in entries],
        "pairs": [{"index": 0, "image_index": 0, "left": None, "right": None}],
        "tally": {"votes": [0, 0], "same": 0},
    }
    return {
        "ComparisonBody": [_BODY, _SETTINGS],
        "ComparisonAnswer": [answer],
        "ComparisonList": [{"comparisons": [answer], "next_cursor": None}],
        "VoteBody": [{"pair": 0, "choice": "left"}],
        "VoteAnswer": [_VOTE],
    }
