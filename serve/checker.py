"""The interface of content checkers, which ``CASCADE_CHECKER`` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from cascade_core.request import GenerationRequest
from serve.storage.records import JobOwner

MAX_RULE_CHARS = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refusal of a request by a checker.

    Attributes:
        rule: name of the rule, 1 to 64 printable characters. The client sees it, and the metrics
            count it. So names must come from a small set and must not hold the refused words.
        field: the text of the request that broke the rule; has no meaning for a picture.
        redo: of a composition: it is rejected, and the image is composed anew with other seeds. Its
            job is refused only if the service may not do that, or not again.

    Raises:
        ValueError: the name of the rule is not valid.
    """

    rule: str
    field: Literal["prompt", "negative_prompt"] = "prompt"
    redo: bool = False

    def __post_init__(self) -> None:
        if not (0 < len(self.rule) <= MAX_RULE_CHARS and self.rule.isprintable()):
            raise ValueError(f"a rule is named by 1 to {MAX_RULE_CHARS} printable characters")


class Checker(Protocol):
    """Checks requests before they are accepted; it may be an UploadChecker and PreviewChecker, too.

    Each process that needs a checker makes its own. Methods are called in threads, never in an
    event loop, several at a time, and must return within 10 s
    (``serve.moderation.moderator.TIME_LIMIT_S``). If a method raises or takes longer, the request
    fails: it is neither refused nor allowed.
    """

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        """Return the refusal of a request because of its texts; None if it is allowed.

        Args:
            request: the request with all its values resolved; one that starts from a latent has
                that latent's texts where it brings none of its own. Of a job that brings its own,
                the request that made the latent comes next, with the owner of the job; those of the
                latents before it do not come.
            owner: the owner of the job.
        """
        ...


@runtime_checkable
class UploadChecker(Checker, Protocol):
    """A checker that also checks pictures that clients send, before they are stored."""

    def check_upload(self, picture: bytes, owner: JobOwner) -> Refusal | None:
        """Return the refusal of a picture; None if it is allowed.

        Args:
            picture: a PNG file, RGB, upright and without metadata: what an image would start from.
            owner: the owner of the upload.
        """
        ...


@runtime_checkable
class PreviewChecker(Checker, Protocol):
    """A checker that also checks each composition, between Stages C and B."""

    def check_preview(
        self, preview: bytes, request: GenerationRequest, owner: JobOwner
    ) -> Refusal | None:
        """Return the refusal of a composition, or its rejection (``redo``); None: it is allowed.

        The method may be called again for the same composition after a process has died.

        Args:
            preview: a WebP file, RGB, about 192 px on the long side.
            request: the request of this one image (n = 1).
            owner: the owner of the job.
        """
        ...
