"""Asks the checkers within a time limit and turns their refusals into errors."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Literal

from cascade_core.errors import ContentRefused, ModerationFailed, SettingsInvalid
from cascade_core.request import GenerationRequest
from serve.checker import Checker, PreviewChecker, Refusal, UploadChecker
from serve.moderation.blocklist import Blocklist
from serve.served_models import OpenModel
from serve.settings import Settings
from serve.storage.records import JobOwner

TIME_LIMIT_S = 10.0
"""seconds that all checkers together may take for one request, upload or composition."""
_THREADS = 8
_SUBJECTS = {"prompt": "the prompt", "negative_prompt": "the negative prompt"}

OnRefusal = Callable[[str, Literal["prompt", "upload", "preview"]], None]

logger = logging.getLogger(__name__)


class Moderator:
    """Asks checkers about requests, uploads and compositions, and raises what they refuse.

    Args:
        checkers: the checkers, asked in this order; the first refusal counts.
        on_refusal: called with the name of the rule and with the kind of content that broke it.
        time_limit_s: seconds that all checkers together may take.
    """

    def __init__(
        self,
        checkers: Sequence[Checker],
        on_refusal: OnRefusal,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._checkers = tuple(checkers)
        self._preview_checkers = tuple(
            checker for checker in self._checkers if isinstance(checker, PreviewChecker)
        )
        self._upload_checkers = tuple(
            checker for checker in self._checkers if isinstance(checker, UploadChecker)
        )
        self._on_refusal = on_refusal
        self._time_limit_s = time_limit_s
        # Separate threads: a checker that hangs must not occupy threads that other work needs.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="checker")

    @property
    def sees_previews(self) -> bool:
        """True if a checker checks compositions."""
        return bool(self._preview_checkers)

    async def check_prompt(
        self,
        request: GenerationRequest,
        owner: JobOwner,
        given: Collection[str] = (),
        latent_request: GenerationRequest | None = None,
    ) -> None:
        """Ask all checkers about a request's texts, each image's of a series, and its latent's.

        Args:
            request: with all its values resolved.
            owner: of the job.
            given: the fields that the client has sent; texts of its latent are not among them.
            latent_request: made the stored latent that the request starts from, if there is one.
                A new prompt alone does not take away what that composition shows.

        Raises:
            ContentRefused: a checker refused it; the message names the rule.
            ModerationFailed: a checker failed or took too long.
        """
        asked: list[GenerationRequest] = []

        def answers() -> Iterator[Refusal | None]:
            for part in _with_latents_texts(request, latent_request):
                asked.append(part)
                for checker in self._checkers:
                    yield checker.check_prompt(part, owner)

        refusal = await self._answer(answers())
        if refusal is None:
            return
        self._on_refusal(refusal.rule, "prompt")
        operation, subject = request.operation, _SUBJECTS[refusal.field]
        field = operation.field_of_text(refusal.field, len(asked) - 1)
        is_from_latent = operation.starts_from_latent and field not in given
        if asked[-1] is latent_request or (field == refusal.field and is_from_latent):
            subject, field = f"{subject} of this latent", operation.latent_field
        elif field != refusal.field:
            subject = f"{subject} of {field}"
        raise ContentRefused(f"{subject} is refused by the rule {refusal.rule!r}", field)

    async def check_upload(self, picture: bytes, owner: JobOwner) -> None:
        """Ask the upload checkers about a picture.

        See :meth:`serve.checker.UploadChecker.check_upload`.

        Raises:
            ContentRefused: a checker refused it; the message names the rule.
            ModerationFailed: a checker failed or took too long.
        """
        refusal = await self._answer(
            checker.check_upload(picture, owner) for checker in self._upload_checkers
        )
        if refusal is not None:
            self._on_refusal(refusal.rule, "upload")
            message = f"the picture is refused by the rule {refusal.rule!r}"
            raise ContentRefused(message, "file")

    async def check_preview(
        self, preview: bytes, request: GenerationRequest, owner: JobOwner, *, may_redo: bool
    ) -> str | None:
        """Ask the preview checkers about a composition.

        See :meth:`serve.checker.PreviewChecker.check_preview`.

        Args:
            preview: the composition, drawn small.
            request: of its image.
            owner: of its job.
            may_redo: the image can be composed anew.

        Returns:
            The rule by which it is to be composed anew; None: it is allowed.

        Raises:
            ContentRefused: a checker refused it; the message names the rule.
            ModerationFailed: a checker failed or took too long.
        """
        refusal = await self._answer(
            checker.check_preview(preview, request, owner) for checker in self._preview_checkers
        )
        if refusal is None:
            return None
        if refusal.redo and may_redo:
            return refusal.rule
        self._on_refusal(refusal.rule, "preview")
        raise ContentRefused(f"the composition is refused by the rule {refusal.rule!r}")

    async def _answer(self, answers: Iterable[Refusal | None]) -> Refusal | None:
        """Return the first refusal; iterating over the answers runs the checkers."""
        if not self._checkers:
            return None
        loop, is_over = asyncio.get_running_loop(), threading.Event()
        # The threads are few and all requests share them: no checker runs for an answer too late.
        asked = takewhile(lambda _: not is_over.is_set(), answers)
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await loop.run_in_executor(self._threads, _first_refusal, asked)
        except TimeoutError as error:
            logger.error("the checkers did not answer within %g s", self._time_limit_s)
            raise ModerationFailed("the content check took too long; try again") from error
        finally:
            is_over.set()


def load_checkers(settings: Settings, models: Iterable[OpenModel]) -> list[Checker]:
    """Make the blocklist and the checker that the settings name.

    Raises:
        SettingsInvalid: one of them cannot be made; or the checker checks previews, but a model has
            no previewer, or its family has no stage whose output can be previewed.
    """
    checkers: list[Checker] = []
    if settings.blocklist:
        checkers.append(Blocklist(Path(settings.blocklist)))
    if settings.checker:
        checkers.append(_imported(settings.checker))
    checks_previews = any(isinstance(checker, PreviewChecker) for checker in checkers)
    for model in models if checks_previews else ():
        _check_previews(model)
    return checkers


def _check_previews(model: OpenModel) -> None:
    reason = ""
    if model.checkpoint.previewer is None:
        remedy = "set CASCADE_PREVIEWER_PATH, or previewer in the file that lists several models"
        reason = f"{model.id} has no previewer: {remedy}"
    elif model.family.kept is None:
        reason = f"no stage of {model.family.name} has an output to preview"
    if reason:
        raise SettingsInvalid(f"CASCADE_CHECKER: the checker needs previews, but {reason}")


def _imported(path: str) -> Checker:
    """Call the factory at ``package.module:factory``."""
    module, _, name = path.partition(":")
    try:
        checker = getattr(importlib.import_module(module), name)()
    except Exception as error:  # the module is the operator's own
        message = f"CASCADE_CHECKER: {path} failed: {type(error).__name__}: {error}"
        raise SettingsInvalid(message) from error
    if not callable(getattr(checker, "check_prompt", None)):
        raise SettingsInvalid(f"CASCADE_CHECKER: the checker that {path} makes has no check_prompt")
    return checker  # type: ignore[no-any-return]


def _with_latents_texts(
    request: GenerationRequest, latent_request: GenerationRequest | None
) -> Iterator[GenerationRequest]:
    """Yield requests with the texts of a job's images, then its latent's if they are others."""
    seen = set()
    for part in request.with_own_texts():
        seen.add(_texts(part))
        yield part
    if latent_request is not None and _texts(latent_request) not in seen:
        yield latent_request


def _texts(request: GenerationRequest) -> tuple[str, ...]:
    return tuple(getattr(request, name) for name in _SUBJECTS)


def _first_refusal(answers: Iterable[Refusal | None]) -> Refusal | None:
    """Return the first refusal.

    Raises:
        ModerationFailed: a checker raised, or its answer is neither None nor a refusal.
    """
    try:
        for answer in answers:
            if isinstance(answer, Refusal):
                return answer
            if answer is not None:
                raise TypeError(f"a checker answered {type(answer).__name__}")
    except BaseException as error:  # also SystemExit, which would end the process
        logger.exception("a content checker failed")
        raise ModerationFailed("the content check failed; try again") from error
    return None
