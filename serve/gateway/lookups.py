"""Finds what a request names: jobs and images. Other callers' things are not found."""

from __future__ import annotations

import re

from cascade_core.errors import Gone, NotFound
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.storage.records import ImageRow, Job, JobOwner

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_id(what: str, value: str) -> str:
    """Return an id that has the form of the service's ids.

    Raises:
        NotFound: it has not, so nothing is stored under it.
    """
    if not _ID.fullmatch(value):
        raise NotFound(f"there is no such {what}")
    return value


async def check_sees(services: Services, caller: Caller, what: str, job_id: str) -> None:
    """Check that the caller may see what a job made.

    Raises:
        NotFound: it belongs to another caller; the same answer as for a missing thing.
    """
    owner = await services.database.run(services.database.jobs.owner_of, job_id)
    if not caller.sees(owner or JobOwner(None, None)):
        raise NotFound(f"there is no such {what}")


async def find_job(services: Services, caller: Caller, job_id: str) -> Job:
    """Return a job as it stands.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    job = await services.database.run(services.database.jobs.get, check_id("job", job_id))
    if job is None or not caller.sees(job.owner):
        raise NotFound("there is no such job")
    return job


async def find_image(services: Services, caller: Caller, image_id: str) -> ImageRow:
    """Return an image that is ready, also a deleted one.

    Raises:
        NotFound: there is none under this id, or it belongs to another caller.
    """
    image = await _ready_image(services, image_id)
    await check_sees(services, caller, "image", image.job_id)
    return image


async def find_shared_image(services: Services, image_id: str) -> ImageRow:
    """Return the image of a checked link, without a check of the caller.

    Raises:
        NotFound: there is none under this id.
        Gone: it was deleted.
    """
    return not_deleted(await _ready_image(services, image_id))


def not_deleted(image: ImageRow) -> ImageRow:
    """Return an image.

    Raises:
        Gone: it was deleted.
    """
    if image.deleted_at is not None:
        raise Gone("this image was deleted")
    return image


async def _ready_image(services: Services, image_id: str) -> ImageRow:
    check_id("image", image_id)
    image = await services.database.run(services.database.images.get, image_id)
    if image is None:
        raise NotFound("there is no such image")
    return image
