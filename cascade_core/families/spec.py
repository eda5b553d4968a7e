"""What a stage and a model family are: plain data that every process of the service reads.

The models themselves are named by strings and imported in the process that runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final

from cascade_core.errors import InvalidRequest, ModelUnavailable, Unsupported
from cascade_core.families.component_folders import ComponentFolders
from cascade_core.families.licence import UNSTATED, Licence, stated_licence
from cascade_core.families.stage_info import STAGE_NAME, StageInfo
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import FIELDS
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import OPERATIONS
from cascade_core.request import GenerationRequest

PREVIEW_WORK: Final = 0.01
"""The work of drawing a kept output small for checkers: next to nothing, but it takes a replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec(StageInfo):
    """One stage of a family.

    Attributes:
        model: ``module:class`` of the :class:`cascade_core.stages.base.Stage`.
        output: ``module:class`` of the hand-off that it makes; empty if it makes pixels.
        source: ``module:class`` of what it takes from the store, if that is no stage's output.
        components: the parts of the checkpoint that it loads.
        work: of one image of a request, in passes of a U-Net over a megapixel.
        steps: of one image of a request.
        max_previews: previews per image at most; 0 if it draws none.
        gpu_share: of a GPU that all stages share.
        own_gpus: of a replica where stages share none; 0 if CPUs are fast enough for it.
        max_rows_cpu, max_rows_cuda: images that may share a step on such a device, of a model that
            states no number. Large models gain nothing from a batch on a CPU. One image of 1024 px
            fills an H100, so a few rows suffice: they keep short requests from waiting behind long
            ones.

    The replica of a stage that keeps its output can draw that output small.
    """

    model: str
    output: str = ""
    source: str = ""
    components: tuple[str, ...]
    work: Callable[[GenerationRequest], float]
    steps: Callable[[GenerationRequest], int]
    max_previews: int = 0
    gpu_share: float
    own_gpus: float = 1.0
    max_rows_cpu: int = 1
    max_rows_cuda: int = 4

    def model_class(self) -> Any:
        """Import the class of its model."""
        return _imported(self.model)

    def output_class(self) -> Any:
        """Import the class of its hand-off, which has ``decode`` and ``encode``."""
        return _imported(self.output)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Stages that make pictures together, each from the output of the one before.

    Attributes:
        name: as in `cascade_core.families.registry`.
        title: for people.
        classes: the classes of diffusers' pipelines that a ``model_index.json`` of it names.
        opener: ``module:function`` that finds a model's files; it takes the family, the
            :class:`cascade_core.checkpoints.checkpoint.ModelSource`, the components that must
            exist, and whether the network may not be used.
        folders: where its components lie, for openers that work by this table.
        defaults: of requests, where the model states none.
        licences: of the weights, by the beginning of a hub id.
        unstated_licence: of other models that state none.
        sampler: how image files name the way in which steps are taken; empty: that of the model's
            own scheduler, which they do not name.
        stages: in order; the last one makes pixels, at most one keeps its output.
        encoder: makes of an upload what the first stage starts from; None: the family has none. A
            model may lack it, see :attr:`cascade_core.checkpoints.checkpoint.Checkpoint`.
        lacks: fields of requests that say nothing to its stages, such as ``negative_prompt`` to a
            model without guidance. Clients cannot give them, and are not told of them.

    Raises:
        ValueError: the stages do not fit together, or it lacks a field that no request has.
    """

    name: str
    title: str = ""
    classes: tuple[str, ...] = ()
    opener: str = "cascade_core.checkpoints.cascade_files:open_cascade"
    folders: Mapping[str, ComponentFolders] = field(default_factory=dict)
    defaults: ModelDefaults = field(default_factory=ModelDefaults)
    licences: Mapping[str, Licence] = field(default_factory=dict)
    unstated_licence: Licence = UNSTATED
    sampler: str = ""
    stages: tuple[StageSpec, ...]
    encoder: StageSpec | None = None
    lacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for stage in self.all_stages:
            if not STAGE_NAME.fullmatch(stage.name):
                raise ValueError(f"{stage.name!r} of {self.name} is no name of a stage")
        if len(self.all_names) != len(self.all_stages):
            raise ValueError(f"two stages of {self.name} have one name")
        if not self.stages or any(bool(stage.output) for stage in self.stages[-1:]):
            raise ValueError(f"the last stage of {self.name} must make pixels")
        if not all(stage.output for stage in self.stages[:-1]):
            raise ValueError(f"only the last stage of {self.name} may make pixels")
        if sum(stage.keeps_output for stage in self.stages) > 1 or self.stages[-1].keeps_output:
            raise ValueError(f"at most one stage of {self.name} may keep its output, not the last")
        if unknown := set(self.lacks) - FIELDS.keys():
            raise ValueError(f"{self.name} lacks {min(unknown)}, which no request has")

    def opener_function(self) -> Callable[..., Any]:
        """Import what opens its checkpoints."""
        opener: Callable[..., Any] = _imported(self.opener)
        return opener

    def licence(self, name: str, stated: str) -> Licence:
        """Return the licence of a model's weights.

        Args:
            name: of the model as configured.
            stated: by the model itself; empty if it states none. A publisher's own counts more.
        """
        own = (known for prefix, known in self.licences.items() if name.startswith(prefix))
        other = stated_licence(stated) if stated else self.unstated_licence
        return next(own, other)

    def served_as(self, model: str) -> Family:
        """Return this family with stages whose deployments are those of one of several models.

        Args:
            model: what their names end in; empty for the only model or the first of several.
        """
        encoder = self.encoder and replace(self.encoder, model_suffix=model)
        stages = tuple(replace(stage, model_suffix=model) for stage in self.stages)
        return replace(self, stages=stages, encoder=encoder)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def all_stages(self) -> tuple[StageSpec, ...]:
        """The stages and the encoder, each with replicas of its own."""
        return self.stages if self.encoder is None else (*self.stages, self.encoder)

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of the stages and of the encoder, each once."""
        return tuple(dict.fromkeys(stage.name for stage in self.all_stages))

    def stages_with(self, *, has_encoder: bool) -> tuple[StageSpec, ...]:
        """Return the stages that a model has."""
        return self.all_stages if has_encoder else self.stages

    @property
    def components(self) -> tuple[str, ...]:
        """The parts of the checkpoint that the stages load, each once."""
        return tuple(dict.fromkeys(part for stage in self.stages for part in stage.components))

    @property
    def kept(self) -> StageSpec | None:
        """The stage whose output is stored for later jobs, if any."""
        return next((stage for stage in self.stages if stage.keeps_output), None)

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The kinds of job that these stages can do, by name."""
        return {
            name: operation
            for name, operation in OPERATIONS.items()
            if operation.route(self.stages)
        }

    def stage(self, name: str) -> StageSpec:
        """Return a stage by its name.

        Raises:
            KeyError: there is none.
        """
        return {stage.name: stage for stage in self.all_stages}[name]

    def before(self, stage: StageSpec) -> StageSpec | None:
        """Return the stage whose output ``stage`` takes; None for the first."""
        number = self.stages.index(stage) if stage in self.stages else 0
        return self.stages[number - 1] if number else None

    def source_of(self, stage: StageSpec, request: GenerationRequest) -> StageSpec | None:
        """Return the stage whose output ``stage`` takes for a request; None if it takes none.

        The first stage of an image that starts from a stored latent takes that latent.

        Args:
            stage: of the request's route.
            request: of one image, see :meth:`GenerationRequest.for_image`.
        """
        route = self._whole_route(request)
        number = route.index(stage)
        if number:
            return route[number - 1]
        return self.kept if request.latent_id is not None else None

    def source_class(self, stage: StageSpec, request: GenerationRequest) -> Any:
        """Import the class of what ``stage`` takes for a request; None if it takes nothing."""
        made_by = self.source_of(stage, request)
        if made_by is not None:
            return made_by.output_class()
        return _imported(stage.source) if stage.source else None

    def makes_latent(self, request: GenerationRequest) -> bool:
        """Return True if a stage of the request makes an output that is kept, for each image."""
        return any(stage.keeps_output for stage in self.route(request))

    def planned_latent_id(self, request: GenerationRequest, index: int) -> str | None:
        """Return the id of an image's latent, if the request decides it; otherwise None."""
        if not self.makes_latent(request):
            return request.latent_id
        return request.hero_id if index == 0 else None

    def leads_to_kept(self, stage: StageSpec) -> bool:
        """Return True if the family keeps the output of this stage or of a later one."""
        later_ones = self.all_stages[self.all_stages.index(stage) :]
        return stage == self.encoder or any(later.keeps_output for later in later_ones)

    def route(self, request: GenerationRequest) -> tuple[StageSpec, ...]:
        """Return the stages that each image of a request passes, in order, up to its stop."""
        route = self._whole_route(request)
        names = [stage.name for stage in route]
        if request.stop_after not in names:
            return route
        return route[: names.index(request.stop_after) + 1]

    def after_stop(self, request: GenerationRequest) -> tuple[StageSpec, ...]:
        """Return the stages that are left for an image of a request after its stop."""
        return self._whole_route(request)[len(self.route(request)) :]

    def check_fields(self, given: Mapping[str, object]) -> None:
        """Check that a client gives no field that the family lacks; an empty text asks for nothing.

        Raises:
            Unsupported: it does; names the field.
        """
        for name, value in given.items():
            if name in self.lacks and value != "":
                raise Unsupported(f"{name} does not go with this model, which has none", name)

    def check_stop(self, request: GenerationRequest) -> None:
        """Check that a job can stop where its request says: after the stage that keeps its output.

        Raises:
            InvalidRequest: it names another stage.
            Unsupported: its kind of job runs no such stage.
        """
        if request.stop_after is None:
            return
        kept = self.kept
        if kept is None or kept not in request.operation.route(self.stages):
            message = f"stop_after does not go with kind {request.kind}, which makes no latent"
            raise Unsupported(message, "stop_after")
        if request.stop_after != kept.name:
            message = f"stop_after must be {kept.name}, the stage whose output is stored"
            raise InvalidRequest(message, "stop_after")

    def max_rows(self, device: str, stated: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """Return how many images may share a step of each stage, by its name.

        Args:
            device: ``cpu`` or ``cuda``.
            stated: what the model's configuration states, by device and stage; for other stages
                their own numbers count.

        Raises:
            ModelUnavailable: it states a number for a stage that is none of the family's.
        """
        unknown = {name for rows in stated.values() for name in rows}.difference(self.all_names)
        if unknown:
            raise ModelUnavailable(
                f"max_rows in the model's cascade.json names {', '.join(sorted(unknown))}, but the "
                f"stages are {', '.join(self.all_names)}"
            )
        own = {
            stage.name: stage.max_rows_cuda if device == "cuda" else stage.max_rows_cpu
            for stage in self.all_stages
        }
        return {**own, **stated.get(device, {})}

    def work(self, request: GenerationRequest) -> float:
        """Return the work of all images of a request at all stages that they pass."""
        route, images = self.route(request), map(request.for_image, range(request.n))
        return sum(stage.work(image) for image in images for stage in route)

    def _whole_route(self, request: GenerationRequest) -> tuple[StageSpec, ...]:
        """Return the stages of a request without its stop."""
        route = request.operation.route(self.stages)
        if request.upload_id is None or self.encoder is None:
            return route
        return self.encoder, *route


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
