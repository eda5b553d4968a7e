"""Pictures of jobs are signed before they are stored, or not stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from cascade_core.errors import NotFound, ProvenanceFailed
from cascade_core.images.image_files import encode_image
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.provenance.certificates import make_credentials
from serve.provenance.credentials import CredentialReader, Credentials
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from serve.storage.blobs.blob_keys import image_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import ImageRow, Job, NewJob
from tests.serve.null_stages import Stage, launched, run_to_end

JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]
CREDENTIALS = make_credentials()


class Drawing(Stage):
    """Stage A, which makes a grey picture; ``watermark``: what its replica has put into it."""

    watermark = ""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        await super().call(*args, on_message=on_message, on_crash=on_crash)
        grey = encode_image(np.full((64, 64, 3), 99, np.uint8), "png", None)
        return StageResult(grey, 0.25, watermark=self.watermark)


@pytest.fixture
def stages() -> dict[str, Stage]:
    return {"c": Stage("c"), "b": Stage("b"), "a": Drawing("a")}


@pytest.fixture
def signer() -> PictureSigner:
    return PictureSigner(FileKey(CREDENTIALS.chain_pem, CREDENTIALS.key_pem))


@pytest_asyncio.fixture
async def run(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    signer: PictureSigner,
) -> AsyncIterator[Run]:
    async with launched(database, database_url, blobs, stages, signer=signer) as workflow:
        yield partial(run_to_end, workflow, database)


async def credentials(blobs: BlobStore, image: ImageRow) -> Credentials:
    data = await blobs.get(image_key(image.id, "png"))
    assert image.size_bytes == len(data)
    reader = CredentialReader(CREDENTIALS.authority_pem)
    return await asyncio.to_thread(reader.read, data, "image/png")


async def test_a_picture_is_signed_and_one_made_from_it_has_it_as_ingredient(
    run: Run, make_job: JobMaker, blobs: BlobStore
) -> None:
    first: Job = await run(make_job())
    found = await credentials(blobs, first.images[0])
    assert (found.state, found.ingredients) == ("trusted", ())
    assert found.actions[0].model == "demo r1"
    vary: Job = await run(make_job(kind="vary_details", latent_id=first.images[0].latent_id))
    found = await credentials(blobs, vary.images[0])
    assert found.state == "trusted"
    assert [(one.relationship, one.is_signed) for one in found.ingredients] == [("inputTo", True)]


async def test_the_manifest_of_a_picture_with_a_watermark_says_so(
    run: Run,
    make_job: JobMaker,
    blobs: BlobStore,
    stages: dict[str, Stage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stages["a"], "watermark", "org.example.mark")
    made: Job = await run(make_job())
    found = await credentials(blobs, made.images[0])
    assert found.state == "trusted"
    assert [one.action for one in found.actions] == ["c2pa.created", "c2pa.watermarked.bound"]


async def test_a_picture_whose_source_is_lost_is_signed_without_it(
    run: Run, make_job: JobMaker, blobs: BlobStore
) -> None:
    first: Job = await run(make_job())
    await blobs.delete(image_key(first.images[0].id, "png"))
    vary: Job = await run(make_job(kind="vary_details", latent_id=first.images[0].latent_id))
    found = await credentials(blobs, vary.images[0])
    assert (found.state, found.ingredients) == ("trusted", ())


async def test_a_picture_that_cannot_be_signed_ends_its_job_and_is_not_stored(
    run: Run,
    make_job: JobMaker,
    blobs: BlobStore,
    signer: PictureSigner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> bytes:
        raise ProvenanceFailed("the device is switched off")

    monkeypatch.setattr(signer, "sign_new", fail)
    ended: Job = await run(make_job())
    assert (ended.state, (ended.error or {})["code"]) == ("failed", "provenance_failed")
    assert not ended.images[0].ready
    with pytest.raises(NotFound):
        await blobs.get(image_key(ended.images[0].id, "png"))
