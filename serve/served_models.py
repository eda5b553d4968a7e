"""The models that one service runs: where their files are, their stages, and their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cascade_core.checkpoints.checkpoint import (
    Checkpoint,
    ModelSource,
    find_family,
    open_checkpoint,
)
from cascade_core.checkpoints.weight_sizes import WeightSize, stage_sizes
from cascade_core.errors import ModelNotFound, SettingsInvalid, Unsupported
from cascade_core.families.spec import Family, StageSpec
from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest

_MAX_SUFFIX_CHARS = 40
_NOT_IN_SUFFIX = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a service, as every process of it is told.

    Attributes:
        source: where its files are.
        family: its stages, with the names that their deployments have in this service.
    """

    source: ModelSource
    family: Family

    def open(self) -> OpenModel:
        """Read the model's configuration and the headers of its weight files.

        Raises:
            ModelUnavailable: the model is not there.
        """
        checkpoint = open_checkpoint(self.source, components=())
        return OpenModel(self.family, checkpoint, stage_sizes(self.family, checkpoint))


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model whose configuration has been read; no weights are loaded.

    Attributes:
        family: its stages.
        checkpoint: its identity and defaults.
        sizes: of the weights of its stages by their names, of those whose files are here.
    """

    family: Family
    checkpoint: Checkpoint
    sizes: Mapping[str, WeightSize] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The model's id for clients."""
        return self.checkpoint.id

    @property
    def takes_uploads(self) -> bool:
        """Return True if the model has an encoder of uploads."""
        return self.family.encoder is not None and self.checkpoint.picture_encoder is not None

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The stages that have deployments."""
        return self.family.stages_with(has_encoder=self.takes_uploads)


class Models:
    """The models of a service.

    Args:
        models: one or more; the first is that of requests that name none.
        aliases: further names of the first.
    """

    def __init__(self, models: Sequence[OpenModel], aliases: Sequence[str] = ()) -> None:
        self.default = models[0]
        self._aliases = tuple(aliases)
        self._by_id = {model.id: model for model in models}
        self._by_name = dict.fromkeys(aliases, self.default) | self._by_id

    def __iter__(self) -> Iterator[OpenModel]:
        return iter(self._by_id.values())

    def among(self, ids: Collection[str]) -> Models | None:
        """Return those models that have one of these ids, with the aliases; None if none has."""
        found = [model for model in self if model.id in ids]
        return Models(found, self._aliases) if found else None

    def find(self, name: str | None) -> OpenModel:
        """Return a model by a name that a client gives; None means the default.

        Raises:
            ModelNotFound: there is no such model; names those that there are.
        """
        return self._named(name, "there is no such model")

    def of(self, request: GenerationRequest) -> OpenModel:
        """Return the model of a request; one from before there were several names none.

        Raises:
            ModelNotFound: it is not served any longer, or not to this caller; names it.
        """
        return self._named(request.model, f"the job's model, {request.model!r}, cannot be used")

    def known_or_default(self, request: GenerationRequest) -> OpenModel:
        """Return the model of a request; the default if it is another service's, or is gone."""
        return self._by_id.get(request.model or "", self.default)

    def with_weights_of(self, ref: ModelRef) -> OpenModel | None:
        """Return the model that made a latent, or one of equal weights; None if none is here."""
        found = [model for model in self if model.checkpoint.fingerprint == ref.fingerprint]
        return next((model for model in found if model.id == ref.id), found[0] if found else None)

    def route(self, request: GenerationRequest) -> tuple[StageSpec, ...]:
        """Return the stages that each image of a request passes, up to its stop.

        The model that the request means may have become another one since it was stored.

        Raises:
            ModelNotFound: it is not served any longer.
            Unsupported, InvalidRequest: its stages cannot do what is asked, or cannot stop there.
        """
        model = self.of(request)
        if not request.operation.route(model.family.stages):
            raise Unsupported(f"{model.id} cannot do {request.kind}", "kind")
        model.family.check_stop(request)
        return model.family.route(request)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of the stages of all models, each once."""
        names = (name for model in self for name in model.family.all_names)
        return tuple(dict.fromkeys(names))

    def _named(self, name: str | None, problem: str) -> OpenModel:
        if name is None:
            return self.default
        if name not in self._by_name:
            ids = ", ".join(map(repr, self._by_id))
            raise ModelNotFound(f"{problem}; served here: {ids}", "model")
        return self._by_name[name]


def choose_models(sources: Sequence[ModelSource]) -> tuple[ServedModel, ...]:
    """Return the models at these sources, the default first, with the families that run them.

    Raises:
        ModelUnavailable: one is not there, or no family runs it.
        SettingsInvalid: two of them have one name.
    """
    chosen: dict[str, ServedModel] = {}
    for source in sources:
        model_id = open_checkpoint(source, components=()).id
        suffix = _suffix(model_id)
        if suffix in chosen:
            raise SettingsInvalid(f"two models have the name {model_id}, or one too like it")
        family = find_family(source).served_as(suffix if chosen else "")
        chosen[suffix] = ServedModel(source, family)
    return tuple(chosen.values())


def _suffix(model_id: str) -> str:
    """Return what the names of a model's deployments end in, never empty."""
    readable = _NOT_IN_SUFFIX.sub("-", model_id.lower())[-_MAX_SUFFIX_CHARS:].strip("-")
    return readable or sha256(model_id.encode()).hexdigest()[:8]


def open_models(models: Sequence[ServedModel], aliases: Sequence[str] = ()) -> Models:
    """Read the configuration of all models of a service.

    Raises:
        ModelUnavailable: one is not there.
    """
    return Models([model.open() for model in models], aliases)
