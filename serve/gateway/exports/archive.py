"""The zip archive of an export, piece by piece: pictures, then what is said of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

from cascade_core.errors import AssetDamaged, CascadeError, Gone
from cascade_core.images.renditions import Preset
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.exports.bodies import ExportBody
from serve.gateway.exports.file_names import DEFAULT_TEMPLATE, FileNames
from serve.gateway.exports.manifest import (
    licences_text,
    manifest_csv,
    manifest_json,
    picture_facts,
)
from serve.gateway.exports.pictures import ExportedFile, check_file, original, rendition
from serve.gateway.prices import price_of
from serve.gateway.routes.library.zip_stream import ZipStream
from serve.gateway.routes.models import model_answer
from serve.served_models import OpenModel
from serve.storage.assets.asset import Actor, Asset
from serve.storage.blobs.blob_keys import image_key
from serve.storage.lineage import Viewpoint
from serve.storage.records import utc_now

_ALL: Final = Viewpoint(None, None)


class Export:
    """One export; its pieces are made as they are sent, with one picture in memory.

    Args:
        services: of the gateway.
        caller: sees all the pictures.
        actor: the caller as the audit log names it.
        body: what was asked for.
        presets: that it names.
    """

    def __init__(
        self,
        services: Services,
        caller: Caller,
        actor: Actor,
        body: ExportBody,
        presets: Sequence[Preset],
    ) -> None:
        self._services = services
        self._caller = caller
        self._actor = actor
        self._body = body
        self._presets = presets
        self._archive = ZipStream()
        self._names = FileNames()
        self._listed: list[dict[str, Any]] = []
        self._models: dict[str, OpenModel] = {}
        self._unknown_models: set[str] = set()

    async def pieces(self, ids: Sequence[str], audit_hash: str) -> AsyncIterator[bytes]:
        """Yield the archive of some pictures.

        Raises:
            NotReady: the database or the store does not answer.
        """
        made_at = utc_now()
        for number, image_id in enumerate(ids, 1):
            async for piece in self._picture(image_id, number):
                yield piece
        made_by = self._actor.key if self._actor.user is None else self._actor.user
        for name, data in {
            "manifest.json": manifest_json(self._listed, made_by, made_at, audit_hash),
            "manifest.csv": manifest_csv(self._listed),
            **{f"models/{_slug(one.id)}.json": _passport(one) for one in self._models.values()},
            "LICENCES.txt": self._licences(),
        }.items():
            yield self._archive.add(name, data, made_at)
        yield self._archive.end()

    async def _picture(self, image_id: str, number: int) -> AsyncIterator[bytes]:
        services = self._services
        asset = await services.database.run(services.database.assets.get, image_id)
        facts = None if asset is None else await self._facts(asset)
        if asset is None or facts is None:  # deleted since
            self._leave_out({"image_id": image_id}, Gone("this image was deleted"))
            return
        try:
            key = image_key(asset.id, asset.format)
            data = await services.blobs.get_known(key, "this image")
            await asyncio.to_thread(check_file, asset, data)
        except (Gone, AssetDamaged) as error:
            self._leave_out(facts, error)
            return
        named = {"prompt": facts.get("prompt", ""), "number": number, "model": _model_id(asset)}
        values = facts | named
        if self._body.originals or not self._presets:
            yield await self._add(facts, values, original(asset, data), asset, "")
        for preset in self._presets:
            make = partial(rendition, asset, data, preset, self._body, services.signer)
            try:
                made = await services.conversions.run(make)
            except CascadeError as error:
                self._leave_out(facts | {"preset": preset.name}, error)
                continue
            yield await self._add(facts, values, made, asset, preset.file_name)

    async def _add(
        self,
        facts: dict[str, Any],
        values: dict[str, Any],
        made: ExportedFile,
        asset: Asset,
        file_name: str,
    ) -> bytes:
        template = self._body.name or file_name or DEFAULT_TEMPLATE
        name = self._names.next(template, values | {"preset": made.preset}, made.suffix)
        described = await asyncio.to_thread(made.to_json)
        self._listed.append({"file": name, **described, **facts})
        at = asset.changed_at or utc_now()
        return await asyncio.to_thread(self._archive.add, name, made.file.data, at)

    def _leave_out(self, facts: dict[str, Any], error: CascadeError) -> None:
        told = {"code": error.code, "message": error.message}
        self._listed.append({"file": None, "error": told, **facts})

    async def _facts(self, asset: Asset) -> dict[str, Any] | None:
        """Return what the manifest says of a picture; None if it was deleted."""
        database = self._services.database
        record = await database.run(database.library.record, _ALL, asset.id)
        job = await database.run(database.jobs.get, asset.job_id)
        if record is None or job is None:
            return None
        cost_s = {stage: seconds / job.request.n for stage, seconds in job.cost_s.items()}
        return picture_facts(
            record,
            asset,
            cost_s,
            price_of(cost_s, self._services.settings.hour_price),
            self._licence(asset),
            has_texts=self._services.settings.prompts_in_files and self._body.metadata == "all",
            is_own=self._caller.sees(asset.owner),
        )

    def _licence(self, asset: Asset) -> str | None:
        served = None if asset.model is None else self._services.models.with_weights_of(asset.model)
        if served is None:
            self._unknown_models.add(_model_id(asset))
            return None
        self._models[served.id] = served
        return served.checkpoint.licence

    def _licences(self) -> bytes:
        known = [model_answer(one).model_dump() for one in self._models.values()]
        return licences_text(known, sorted(self._unknown_models))


def _model_id(asset: Asset) -> str:
    return "unknown model" if asset.model is None else asset.model.id


def _slug(model_id: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in model_id)


def _passport(model: OpenModel) -> bytes:
    shown = model_answer(model).model_dump(mode="json")
    return json.dumps(shown, ensure_ascii=False, indent=1).encode()
