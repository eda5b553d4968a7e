"""The states of an asset, and the actions that lead from one to another.

    draft --submit--> submitted --approve--> approved --publish--> published
    rejected <--reject-- submitted             approved, published --archive--> archived

Back lead ``withdraw`` (submitted to draft), ``submit`` (also from rejected), ``reopen`` (approved
or rejected to submitted), ``unpublish`` (published to approved), ``restore`` (archived to
approved). A picture without a row is a draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

AssetState = Literal["draft", "submitted", "approved", "rejected", "published", "archived"]
ActionName = Literal[
    "submit",
    "withdraw",
    "approve",
    "reject",
    "reopen",
    "publish",
    "unpublish",
    "archive",
    "restore",
]

ActionScope = Literal["create", "review", "publish"]
"""The scope of an API key that an action needs."""

STATES: Final[tuple[AssetState, ...]] = get_args(AssetState)
DRAFT: Final[AssetState] = "draft"
SUBMITTED: Final[AssetState] = "submitted"
PROTECTED: Final[frozenset[AssetState]] = frozenset(
    {"submitted", "approved", "published", "archived"}
)
"""Pictures in these states are neither deleted nor removed by retention."""

SHARED: Final[frozenset[AssetState]] = frozenset({"approved", "published"})
"""Every key that may read sees assets in these states, unless the service's settings forbid it."""


@dataclass(frozen=True, slots=True)
class AssetAction:
    """One action.

    Attributes:
        name: of the action.
        sources: the states that it starts from.
        target: the state that it leads to.
        scope: that the key needs; with ``create`` the picture's owner acts, and no other.
        needs_note: a note says why.
        needs_other: its actor is neither the submitter nor the picture's owner (four eyes).
        is_decision: the asset shows its actor, time and note as those of the decision.
    """

    name: ActionName
    sources: frozenset[AssetState]
    target: AssetState
    scope: ActionScope
    needs_note: bool = False
    needs_other: bool = False
    is_decision: bool = False

    @property
    def is_owners(self) -> bool:
        """Return True if the picture's owner alone may do it."""
        return self.scope == "create"


_ALL: Final = (
    AssetAction("submit", frozenset({"draft", "rejected"}), "submitted", "create"),
    AssetAction("withdraw", frozenset({"submitted"}), "draft", "create"),
    AssetAction(
        name="approve",
        sources=frozenset({"submitted"}),
        target="approved",
        scope="review",
        needs_other=True,
        is_decision=True,
    ),
    AssetAction(
        name="reject",
        sources=frozenset({"submitted"}),
        target="rejected",
        scope="review",
        needs_note=True,
        is_decision=True,
    ),
    AssetAction("reopen", frozenset({"approved", "rejected"}), "submitted", "review"),
    AssetAction("publish", frozenset({"approved"}), "published", "publish"),
    AssetAction("unpublish", frozenset({"published"}), "approved", "publish"),
    AssetAction("archive", frozenset({"approved", "published"}), "archived", "publish"),
    AssetAction("restore", frozenset({"archived"}), "approved", "publish"),
)

ACTIONS: Final[Mapping[ActionName, AssetAction]] = {action.name: action for action in _ALL}
