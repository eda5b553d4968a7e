"""A job's progress on the terminal: one bar per stage, or one line per finished stage in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from cascade_core.families.stage_info import StageInfo
from cascade_core.printable import one_line
from serve.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_PICTURES = StageInfo(name="", title="pictures", share=1.0)
"""Counts finished pictures where the service does not list its stages."""


class StageTally:
    """Adds up the steps of one stage over the pictures of a job.

    Args:
        images: pictures in the job; each is assumed to need as many steps as the first.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._done: dict[int, int] = {}
        self._steps = 0

    def record(self, index: int, step: int, steps: int) -> None:
        """Record that picture ``index`` has done ``step`` of ``steps``; never goes back."""
        self._done[index] = max(step, self._done.get(index, 0))
        self._steps = max(steps, self._steps)

    def finish(self, index: int) -> None:
        """Record that picture ``index`` has passed this stage, even if steps are missing."""
        self.record(index, self._steps or 1, 1)

    @property
    def done(self) -> int:
        """Steps done over all pictures."""
        return sum(self._done.values())

    @property
    def total(self) -> int:
        """Steps to do over all pictures; 0 while unknown."""
        return self._steps * self._images

    @property
    def is_complete(self) -> bool:
        """Return True if every picture has passed this stage."""
        return 0 < self.total <= self.done


class StageProgress:
    """Shows the stages of one job on stderr while it is used in a ``with`` block.

    Args:
        images: pictures in the job.
        stages: the stages that each picture passes, in order; none: only pictures are counted.
        terminal_only: print nothing if stderr is no terminal (for ``--json``).
    """

    def __init__(
        self, images: int, stages: Sequence[StageInfo] = (), *, terminal_only: bool = False
    ) -> None:
        self._console = console(stderr=True)
        self._titles = {stage.name: one_line(stage.title) for stage in stages or (_PICTURES,)}
        self._tallies = {stage: StageTally(images) for stage in self._titles}
        self._is_silent = terminal_only and not self._console.is_terminal
        self._bars: Progress | None = None
        self._bar_ids: dict[str, TaskID] = {}
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = _bars(self._console)
            for stage, title in self._titles.items():
                self._bar_ids[stage] = self._bars.add_task(title, total=None)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def queued(self, position: int, eta_s: float | None) -> None:
        """Show how many jobs are ahead."""
        if self._bars is None or position < 1:
            return
        eta = f", about {eta_s:.0f} s" if eta_s else ""
        first = next(iter(self._bar_ids))
        self._bars.update(self._bar_ids[first], description=f"queued, {position} ahead{eta}")

    def step(self, stage: str, index: int, step: int, steps: int) -> None:
        """Show that picture ``index`` has done ``step`` of ``steps`` in ``stage``.

        The server may leave out steps that follow each other quickly, also the last one. A picture
        in a later stage has passed the earlier ones.
        """
        if stage not in self._tallies:
            return
        for name, tally in self._tallies.items():
            if name == stage:
                tally.record(index, step, steps)
                break
            tally.finish(index)
        self._draw()

    def picture(self, index: int) -> None:
        """Show that picture ``index`` is done."""
        for tally in self._tallies.values():
            tally.finish(index)
        self._draw()

    def _draw(self) -> None:
        for stage, tally in self._tallies.items():
            if self._bars is not None and tally.total:
                self._bars.update(
                    self._bar_ids[stage],
                    description=self._titles[stage],
                    completed=tally.done,
                    total=tally.total,
                )
            if self._bars is None and tally.is_complete and stage not in self._told:
                self._told.add(stage)
                self._say(f"{self._titles[stage]} {tally.done}/{tally.total}")

    def _say(self, line: str) -> None:
        if not self._is_silent:
            self._console.print(line, markup=False)


def _bars(target: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=target,
    )
