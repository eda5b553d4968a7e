"""``--local``: runs all stages in this process; its jobs look like the server's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulid import ULID

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.errors import CascadeError
from cascade_core.families.operation_info import operations_of
from cascade_core.handoff import ModelRef
from cascade_core.images.image_files import ImageInfo, encode_image
from cascade_core.operations.registry import VARY_DETAILS
from cascade_core.request import GenerationRequest
from serve.cli.offers import check_offered
from serve.cli.output import CliError, console
from serve.cli.progress import StageProgress
from serve.cli.submit import finish, make_folder, write_whole
from serve.gateway.resolution import model_of, resolve_request
from serve.gateway.schemas.jobs import JobBody
from serve.provenance.picture_signer import load_signer
from serve.provenance.statements import Absence, ModelPassport, Origin, PictureFile
from serve.provenance.watermarks import load_watermarker, watermark_of, watermarked
from serve.served_models import Models, OpenModel, choose_models, open_models
from serve.settings import Settings, load_settings
from serve.storage.records import LatentRow

if TYPE_CHECKING:
    from cascade_core.pipeline import CascadePipeline, PictureResult

LATENT_SUFFIX = ".latent"
_EXTENSIONS = {"png": "png", "webp": "webp", "jpeg": "jpg"}


def generate_in_process(body: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Make pictures; each one's latent is saved beside it."""
    make_folder(out)
    settings = load_settings()
    models = _models(settings)
    model = models.find(body.get("model"))
    request = resolve_request(JobBody(**body), None, model)
    model = _whole(settings, models, model)
    _InProcessRun(settings, model, request, out).finish(as_json=as_json)


def vary_in_process(source: Path, body: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Make pictures from a saved latent; without a kind, new details."""
    make_folder(out)
    settings = load_settings()
    models = _models(settings)
    latent_id, latent = _saved_latent(source, models)
    row = LatentRow(latent_id, "", 0, latent.model, latent.request)
    named = {"kind": VARY_DETAILS.name, "latent_id": row.id} | body
    model = model_of(body.get("model"), row, models)
    check_offered(operations_of(model.family, model.checkpoint.defaults), named)
    request = resolve_request(JobBody(**named), row, model)
    model = _whole(settings, models, model)
    _InProcessRun(settings, model, request, out, latent).finish(as_json=as_json)


class _InProcessRun:
    """One job that runs in this process; ``latent``: the one that it starts from, if any."""

    def __init__(
        self,
        settings: Settings,
        model: OpenModel,
        request: GenerationRequest,
        out: Path,
        latent: Any = None,
    ) -> None:
        checkpoint = model.checkpoint
        self._pipeline = _load(settings, model)
        self._route = self._pipeline.family.route(request)
        sources = (latent, *(None for _ in self._route[1:]))
        self._warnings = [
            warning
            for stage, source in zip(self._route, sources, strict=True)
            for warning in stage.model_class().load_warnings(checkpoint)(request, source)
        ]
        self._model = ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)
        self._request = request
        self._prompts_in_files = settings.prompts_in_files
        self._signer, self._watermarker = load_signer(settings), load_watermarker(settings)
        names = checkpoint.id, checkpoint.revision, checkpoint.fingerprint, checkpoint.licence
        self._passport = ModelPassport(*names)
        self._out = out
        self._latent = latent
        self._id = str(ULID())
        self._images: list[dict[str, Any]] = []
        self._cost = {stage.cost_key: 0.0 for stage in self._pipeline.family.stages}
        self.files: list[Path] = []

    def finish(self, *, as_json: bool) -> None:
        """Make and save all pictures, then print the outcome."""
        with StageProgress(self._request.n, self._route, terminal_only=as_json) as progress:
            for index in range(self._request.n):
                self._make(index, progress)
        finish(self.job(), self.files, as_json=as_json)

    def _make(self, index: int, progress: StageProgress) -> None:
        """Make picture ``index`` and save it, with its latent if that is new."""
        result = self._pipeline.run(
            self._request.for_image(index),
            self._latent,
            on_step=lambda stage, step, steps: progress.step(stage, index, step, steps),
        )
        family = self._pipeline.family
        latent_id = family.planned_latent_id(self._request, index) or f"{self._id}-{index}"
        if family.makes_latent(self._request):
            write_whole(self._out / (latent_id + LATENT_SUFFIX), result.latent.encode())
        self._keep(index, latent_id, result)

    def job(self) -> dict[str, Any]:
        """Return the finished job in the server's form."""
        return {
            "id": self._id,
            "kind": self._request.kind,
            "state": "succeeded",
            "request": self._request.to_dict(),
            "images": self._images,
            "warnings": self._warnings,
            "error": None,
            "cost": {name: round(seconds, 4) for name, seconds in self._cost.items()},
        }

    def _keep(self, index: int, latent_id: str, result: PictureResult) -> None:
        request = self._request.for_image(index)
        image_id = str(ULID())
        source = request.derived_from()
        info = ImageInfo(
            image_id,
            latent_id,
            request,
            self._model,
            self._pipeline.family,
            has_texts=self._prompts_in_files,
        )
        file = self._out / f"{self._id}-{index}.{_EXTENSIONS[request.format]}"
        pixels_hwc = watermarked(self._watermarker, result.pixels_hwc, image_id)
        data = encode_image(pixels_hwc, request.format, info)
        write_whole(file, self._signed(data, request, image_id))
        self.files.append(file)
        for stage in self._route:
            self._cost[stage.cost_key] += result.seconds[stage.name]
        self._images.append(
            {
                "id": image_id,
                "index": index,
                "latent_id": latent_id,
                "seed": request.seed,
                "decoder_seed": request.decoder_seed,
                "width": request.width,
                "height": request.height,
                "derived_from": source and source | {"image_id": None},
            }
        )

    def _signed(self, data: bytes, request: GenerationRequest, image_id: str) -> bytes:
        if self._signer is None:
            return data
        # A saved latent does not tell which picture was made of it.
        source: Absence | None = None if self._latent is None else "unreadable"
        algorithm = self._watermarker.algorithm if self._watermarker else ""
        mark = watermark_of(algorithm, image_id)
        origin = Origin(self._passport, request.operation.image_kind, source, mark)
        return self._signer.sign_new(PictureFile(data, request.format), origin)


def _models(settings: Settings) -> Models:
    """Return the configured models."""
    return open_models(choose_models(settings.model_sources()), settings.alias_names)


def _whole(settings: Settings, models: Models, model: OpenModel) -> OpenModel:
    """Return a model with all its parts: those of the other models need not be fetched."""
    source = settings.model_sources()[list(models).index(model)]
    return replace(model, checkpoint=open_checkpoint(source))


def _load(settings: Settings, model: OpenModel) -> CascadePipeline:
    with console(stderr=True).status(f"loading {model.id}"):
        import torch

        from cascade_core.checkpoints.weights import Placement
        from cascade_core.pipeline import CascadePipeline

        torch.set_num_threads(settings.torch_threads)
        placement = Placement(settings.device, settings.dtype)
        return CascadePipeline.load(model.checkpoint, placement, model.family)


def _saved_latent(source: Path, models: Models) -> tuple[str, Any]:
    """Return the id and the latent in a ``.latent`` file, or in the one beside a picture."""
    kept = [model.family.kept for model in models if model.family.kept is not None]
    classes = list(dict.fromkeys(stage.output_class() for stage in kept))
    if not classes:
        raise CliError("this model keeps no latents")
    remedy = "name a .latent file saved by cascade generate --local, or the picture beside it"
    try:
        file = source if source.suffix == LATENT_SUFFIX else source.with_suffix(LATENT_SUFFIX)
        return file.stem, _decoded(file.read_bytes(), classes)
    except ValueError as error:  # "." and "/" have no name that could end in .latent
        raise CliError(f"{source} is no file", remedy=remedy) from error
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror}", remedy=remedy) from error
    except CascadeError as error:
        raise CliError(f"{file} is no latent: {error.message}", remedy=remedy) from error


def _decoded(data: bytes, classes: Sequence[Any]) -> Any:
    """Decode a latent of one of several kinds; raises as the last of them does."""
    for latent_class in classes[:-1]:
        with suppress(CascadeError):
            return latent_class.decode(data)
    return classes[-1].decode(data)
