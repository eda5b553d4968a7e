"""What decides whether a picture may be made: the contract of ``CASCADE_CHECKER``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from cascade_core.request import GenerationRequest
from serve.storage.records import JobOwner

MAX_RULE_CHARS = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """A checker's No.

    Attributes:
        rule: which rule it was: 1 to 64 printable characters, shown to the client and counted in
            the metrics, so from a small set and without the offending words.
        field: which text of the request is at fault; has no meaning for a preview.

    Raises:
        ValueError: the rule has no such name.
    """

    rule: str
    field: Literal["prompt", "negative_prompt"] = "prompt"

    def __post_init__(self) -> None:
        if not (0 < len(self.rule) <= MAX_RULE_CHARS and self.rule.isprintable()):
            raise ValueError(f"a rule is named by 1 to {MAX_RULE_CHARS} printable characters")


class Checker(Protocol):
    """Looks at requests before they are accepted.

    Each process that needs one makes its own. Methods are called in threads, never in an event
    loop, several at a time, and must answer within 10 s
    (``serve.moderation.moderator.TIME_LIMIT_S``). One that raises or takes
    longer refuses nothing and allows nothing: the request fails.
    """

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        """Return why nothing may be drawn from this request's texts; None if it may.

        Args:
            request: with every value decided; of ``vary_details``, the texts are the latent's.
            owner: for whom.
        """
        ...


@runtime_checkable
class PreviewChecker(Checker, Protocol):
    """A checker that also looks at each composition, between Stages C and B."""

    def check_preview(
        self, preview: bytes, request: GenerationRequest, owner: JobOwner
    ) -> Refusal | None:
        """Return why this composition may become no picture; None if it may.

        It may be asked again about the same one, when a process dies in between.

        Args:
            preview: a WebP file, RGB, about 192 px on the long side.
            request: of this one image (n = 1).
            owner: for whom.
        """
        ...
