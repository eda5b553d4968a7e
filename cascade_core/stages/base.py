"""The interface of a stage, for the engine, the pipeline and the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import ModelUnavailable
from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest


class Row(Protocol):
    """One request inside a stage, from admission to its result.

    Attributes:
        step: steps done so far.
        steps: steps in all; the row is done when ``step == steps``.
        bucket: rows with equal buckets may share a forward pass; the latent's shape, so that its
            product is the work of a step of one row.
    """

    @property
    def step(self) -> int: ...  # noqa: D102

    @property
    def steps(self) -> int: ...  # noqa: D102

    @property
    def bucket(self) -> tuple[int, ...]: ...  # noqa: D102


class DeviceStep(Protocol):
    """A step that a device does while the stage's thread goes on."""

    def wait(self) -> float:
        """Wait until the step is done; returns the device's seconds for it.

        Devices report failures late: what it raises may belong to this step or one before it.
        """


TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)
ResultT = TypeVar("ResultT", covariant=True)


class Stage(Protocol[TaskT, RowT, ResultT]):
    """One model and the loop around it; used by one thread at a time.

    A failed ``advance`` must leave every row as it was, so that the engine can try fewer at a time.

    Attributes:
        name: as in its :class:`cascade_core.families.spec.StageSpec`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def admit(self, task: TaskT) -> RowT:
        """Prepare a row: encode its text, draw its noise.

        Raises:
            CascadeError: the task cannot run here.
        """

    def advance(self, rows: Sequence[RowT]) -> DeviceStep | None:
        """Do one step of every row; all share one bucket and none is done.

        Returns:
            None if the step is done. Otherwise the device is at it, and the rows count it already:
            the device does whatever follows after it.
        """

    def result(self, row: RowT) -> ResultT:
        """Return the result of a row that is done.

        Raises:
            NonFiniteLatent: the model answered NaN or infinity.
        """

    def preview(self, row: RowT) -> Rgb | None:
        """Return a small picture of the last step's prediction; None if the stage has none."""

    def warm_up(self) -> TaskT | None:
        """Run one tiny request, so that the first real one is not slow.

        Returns:
            Its task of one or more steps, by which the engine times steps; None for no measurement.
        """

    def free_memory(self) -> None:
        """Free cached device memory, for larger pieces and for other processes on the device."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a stage does at its warm-up, beside its smallest step.

    Attributes:
        sizes: (width, height) in pixels of the pictures of which it does a step.
        max_rows: most pictures in a step.
        compiles: True if torch compiles the blocks of its U-Net.
        graph_bytes: of the device's memory, for the steps of these sizes that are recorded as CUDA
            graphs; 0: none are.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    max_rows: int = 1
    compiles: bool = False
    graph_bytes: int = 0


Warnings = Callable[[GenerationRequest, Any], list[str]]
"""Returns a sentence about each part of a request that a stage cannot use, or not well. It also
gets the source of :meth:`RequestStage.make_task`; None: it is not known yet."""
DrawOutput = Callable[[Any], Rgb]
"""Draws a finished hand-off small."""


class RequestStage(Stage[Any, Any, Any], Protocol):
    """A stage of a family: its class also has ``load(checkpoint, placement, *, with_previews)``.

    What its class loads beside the model is used by other threads than the model's.
    """

    def make_task(self, source: Any, request: GenerationRequest) -> Any:
        """Return what :meth:`admit` takes.

        Args:
            source: the hand-off of the stage before; in the first stage of a route the stored
                latent that the request starts from, or None.
            request: of one image.
        """

    def prepare(self, preparation: Preparation) -> None:
        """Set what the warm-up does; call it before.

        Raises:
            SettingsInvalid: it cannot be done on this device or machine.
        """

    @staticmethod
    def load_warnings(checkpoint: Checkpoint) -> Warnings:
        """Load what warns clients of their requests.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """

    @staticmethod
    def load_output_drawer(checkpoint: Checkpoint, device: str) -> DrawOutput:
        """Load what draws the stage's hand-offs for checkers.

        Raises:
            ModelUnavailable: the model cannot draw them, or files are wrong.
        """


class StageDefaults:
    """The optional parts of a :class:`RequestStage`: nothing to prepare, to warn of or to draw."""

    def prepare(self, _preparation: Preparation) -> None:
        """Leave the warm-up as it is."""

    @staticmethod
    def load_warnings(_checkpoint: Checkpoint) -> Warnings:
        """Return a function that warns of nothing."""
        return _no_warnings

    @staticmethod
    def load_output_drawer(checkpoint: Checkpoint, _device: str) -> DrawOutput:
        """Raise ModelUnavailable."""
        raise ModelUnavailable(f"{checkpoint.id} has no previewer for this stage")


def _no_warnings(_request: GenerationRequest, _source: object) -> list[str]:
    return []
