"""What the licence of a model's weights allows, as data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Term = Literal["allowed", "forbidden", "check"]
"""``check``: it is not known here; the operator reads the licence before relying on it."""

_STRICTNESS: Final[tuple[Term, ...]] = ("allowed", "check", "forbidden")
_OPEN: Final = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0"})
"""SPDX ids of licences that allow both hosting and commercial use; their case means nothing."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a model's weights.

    Attributes:
        text: for people; what it is called, or what is known of it.
        hosting: the model may be offered to others as a service.
        commercial: the model may be used for profit.
    """

    text: str
    hosting: Term = "check"
    commercial: Term = "check"


UNSTATED: Final = Licence("not stated: check before you offer it to others")


def stated_licence(text: str) -> Licence:
    """Return what a stated licence allows: both if it is the SPDX id of an open one, else check."""
    if text.strip().lower() in _OPEN:
        return Licence(text, hosting="allowed", commercial="allowed")
    return Licence(text)


def strictest(licences: Collection[Licence]) -> Licence:
    """Return what all licences of the parts of a model allow together, with the strictest's text.

    Raises:
        ValueError: there is none.
    """
    return Licence(
        max(licences, key=lambda licence: sum(map(_STRICTNESS.index, _terms(licence)))).text,
        max((licence.hosting for licence in licences), key=_STRICTNESS.index),
        max((licence.commercial for licence in licences), key=_STRICTNESS.index),
    )


def _terms(licence: Licence) -> tuple[Term, Term]:
    return licence.hosting, licence.commercial
