"""Turns a client's body into a comparison and its jobs: all of them, or none."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cascade_core.errors import CascadeError, Conflict, InvalidRequest, NotReady
from cascade_core.operations.fields import MAX_SEED
from cascade_core.request import GenerationRequest
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.idempotency import make_identity
from serve.gateway.schemas.comparisons import ComparisonBody
from serve.gateway.schemas.jobs import JobBody
from serve.gateway.submission import Submission, resolve, submit_resolved
from serve.storage.comparisons.comparison import Comparison
from serve.storage.records import JobIdentity, utc_now

logger = logging.getLogger(__name__)

_submitting: set[asyncio.Task[bool]] = set()

_OF_ALL = ("id", "models", "settings")
"""Fields of a body that are not those of each job."""

Settings = Mapping[str, Any]


async def accept(
    services: Services, caller: Caller, body: ComparisonBody, idempotency_key: str
) -> Comparison:
    """Accept a comparison, or return the one that an equal request made before.

    Every request is resolved and checked before the first job is submitted. If a job is refused
    then, the earlier ones are cancelled.

    Raises:
        InvalidRequest: a value is out of range, or not exactly one of models and settings is given.
        IdempotencyMismatch: the id or key was used for another request.
        Conflict: the id is that of a comparison which was refused in part.
        CascadeError: what `serve.gateway.submission.submit` raises; the field at fault is named
            with its entry, such as ``settings.1.steps``.
    """
    owner = caller.owner(body.user)
    asked = {"comparison": body.model_dump(mode="json", exclude={"id"})}
    identity = make_identity(asked, owner, body.id, idempotency_key)
    stored = services.database.comparisons
    earlier = await services.database.run(stored.accepted_before, identity)
    new = earlier or Comparison(
        id=identity.job_id,
        owner=owner,
        created_at=utc_now(),
        prompt=body.prompt,
        seed=random.randint(0, MAX_SEED) if body.seed is None else body.seed,
        n=body.n or 1,
        settings=tuple(_settings_of(body)),
        models=(),
    )
    known = await services.database.run(services.database.jobs.with_last_event_ids, new.job_ids)
    if earlier is not None and len(known) == len(new.job_ids):
        return earlier
    if earlier is None and known:
        if await services.database.run(stored.accepted_before, identity) is None:
            raise Conflict("a comparison of this id was refused before; use another id", "id")
        return await accept(services, caller, body, idempotency_key)  # an equal request was faster
    submissions = [_submission(caller, body, new, entry) for entry in range(len(new.settings))]
    requests = []
    for entry, submission in enumerate(submissions):
        with _naming(body, entry, new.settings[entry]):
            requests.append(await resolve(services, submission))
    _check_distinct(body, requests)
    new = replace(new, models=tuple(request.model or "" for request in requests))
    may_repeat = body.id is not None or identity.key is not None
    keeps_on = CascadeError if earlier else NotReady if may_repeat else ()
    jobs = list(zip(submissions, requests, strict=True))
    # A task of its own: a client that leaves now must not leave half of it behind.
    submitting = asyncio.create_task(_store_and_submit(services, new, identity, jobs, keeps_on))
    _submitting.add(submitting)
    submitting.add_done_callback(_submitting.discard)
    if await asyncio.shield(submitting):
        return new
    return await accept(services, caller, body, idempotency_key)  # an equal request was faster


async def _store_and_submit(
    services: Services,
    new: Comparison,
    identity: JobIdentity,
    jobs: Sequence[tuple[Submission, GenerationRequest]],
    keeps_on: type[CascadeError] | tuple[()],
) -> bool:
    """Store a comparison and submit its jobs; withdraw it if one is refused.

    Args:
        services: of the gateway.
        new: the comparison; one that a crash left in part is stored already.
        identity: of its request.
        jobs: by entry; one that was submitted before stays as it is.
        keeps_on: the errors after which it is kept, as it can be asked for again.

    Returns:
        False if an equal request has stored another one; nothing is submitted then.
    """
    added = await services.database.run(services.database.comparisons.add, new, identity)
    if (added.id, added.seed) != (new.id, new.seed):
        return False
    try:
        for submission, request in jobs:
            await submit_resolved(services, submission, request)
    except Exception as error:
        if not isinstance(error, keeps_on):
            await _withdraw(services, added)
        raise
    return True


def _check_distinct(body: ComparisonBody, requests: Sequence[GenerationRequest]) -> None:
    """Check that no two entries ask for the same, be it by another name of a model.

    Raises:
        InvalidRequest: two do.
    """
    if any(request in requests[:place] for place, request in enumerate(requests)):
        field = "settings" if body.models is None else "models"
        raise InvalidRequest(f"{field} must differ from each other", field)


def _settings_of(body: ComparisonBody) -> list[dict[str, Any]]:
    """Return what each entry is given beyond what all have in common."""
    if (body.models is None) == (body.settings is None):
        raise InvalidRequest("a comparison needs either models or settings", "models")
    if body.models is not None:
        found: list[dict[str, Any]] = [{"model": name} for name in body.models]
    else:
        found = [one.model_dump(exclude_none=True) for one in body.settings or ()]
    return found


def _submission(
    caller: Caller, body: ComparisonBody, comparison: Comparison, entry: int
) -> Submission:
    """Return the request for the job of one entry; its id follows from the comparison's."""
    left_out = {*_OF_ALL, "seed"} | ({"client_state"} if entry else set())
    common = body.model_dump(exclude=left_out, exclude_none=True)
    of_job = JobBody(**common | dict(comparison.settings[entry]) | {"seed": comparison.seed})
    identity = make_identity(of_job.identifying_values(), caller.owner(body.user))
    return Submission(
        caller=caller,
        body=of_job,
        identity=replace(identity, job_id=comparison.job_ids[entry]),
        is_waiting=False,
        is_watched=False,  # previews would cost time that is measured
    )


@contextmanager
def _naming(body: ComparisonBody, entry: int, given: Settings) -> Iterator[None]:
    """In this block, an error about a value of an entry names it with the entry."""
    try:
        yield
    except CascadeError as error:
        if error.field not in given:
            raise
        of_settings = f"settings.{entry}.{error.field}"
        field = of_settings if body.models is None else f"models.{entry}"
        raise type(error)(error.message, field) from error


async def _withdraw(services: Services, comparison: Comparison) -> None:
    """Cancel the jobs of a comparison that was refused in part, and remove it."""
    try:
        found = await services.database.run(
            services.database.jobs.with_last_event_ids, comparison.job_ids
        )
        for job, _ in found:
            await services.jobs.cancel(job.id)
            # Its client was told of the refusal, so that nothing is to be delivered.
            await services.database.run(services.database.jobs.replace_client_state, job.id, None)
        await services.database.run(services.database.comparisons.remove, comparison.id)
    except CascadeError as error:  # the client hears of the first one
        logger.warning("a refused comparison has left jobs: %s", error)
