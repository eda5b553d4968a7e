"""What a live message shows of a job, from the job's first state and the events after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from bot.service.models import FOUND, LOST, Job, JobEvent
from cascade_core.families.stage_info import StageInfo

SOONEST_S = 3
"""An estimate is at least this far ahead; a nearer one would pass before people read it."""
_SMALLEST_MOVE = 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a live message shows of a job.

    Attributes:
        position: number of jobs ahead of it while it waits.
        done_at: Unix time when it will probably be done; None when unknown.
        stage: the running stage; None before the first.
        step, steps: the last step of the stage, and the number of its steps.
        index, n: the picture in progress, and the number of pictures.
        done: fraction of each picture's work that is done, 0 to 1.
        stages: the stages that each picture passes; empty while they are not known.
        preview: path of the newest preview.
        began: Unix time of the first known step, and the fraction at that time.
        is_lost: the service does not answer.
    """

    position: int | None = None
    done_at: int | None = None
    stage: str | None = None
    step: int = 0
    steps: int = 0
    index: int = 0
    n: int = 1
    done: tuple[float, ...] = (0.0,)
    stages: tuple[StageInfo, ...] = ()
    preview: str = ""
    began: tuple[float, float] | None = None
    is_lost: bool = False

    @property
    def fraction(self) -> float:
        """Return the fraction of the job's work that is done, 0 to 1."""
        return sum(self.done) / len(self.done)

    @property
    def stage_title(self) -> str:
        """Return the service's title of the running stage; its name if that is not known."""
        titles = {stage.name: stage.title for stage in self.stages}
        return titles.get(self.stage or "", self.stage or "")

    @classmethod
    def of(cls, job: Job, now_s: float) -> Self:
        """Return the first snapshot of a job."""
        done_at = None if job.eta_s is None else round(now_s + job.eta_s)
        return cls(
            position=job.position,
            done_at=done_at,
            n=job.request.n,
            done=(0.0,) * job.request.n,
        )

    def after(self, event: JobEvent, now_s: float) -> Snapshot:
        """Return the snapshot after an event."""
        data = event.data
        if event.type in (LOST, FOUND):
            return replace(self, is_lost=event.type == LOST)
        if event.type == "queued":
            eta_s = data.get("eta_s")
            done_at = None if eta_s is None else round(now_s + eta_s)
            return replace(self, position=data.get("position"), done_at=done_at)
        if event.type != "progress":
            return self
        stage, step, steps, index = data["stage"], data["step"], data["steps"], data["index"]
        inside = self._fraction_after(stage, step / max(1, steps))
        moved = replace(
            self,
            position=None,
            stage=stage,
            step=step,
            steps=steps,
            index=index,
            done=tuple(
                max(before, inside) if number == index else before
                for number, before in enumerate(self.done)
            ),
            preview=data.get("preview_url", self.preview),
        )
        return moved._estimated(now_s)

    def _fraction_after(self, stage: str, part: float) -> float:
        """Return the fraction of a picture's work that is done after a part of a stage."""
        shares = {known.name: known.share for known in self.stages}
        if stage not in shares:
            return 0.0
        names = list(shares)
        before = sum(shares[name] for name in names[: names.index(stage)])
        return (before + shares[stage] * part) / (sum(shares.values()) or 1.0)

    def at(self, now_s: float) -> Snapshot:
        """Return the snapshot to show at a time, without an estimate that has passed."""
        if self.done_at is None:
            return self
        if self.is_lost or self.done_at <= now_s:
            return replace(self, done_at=None)
        return replace(self, done_at=max(self.done_at, round(now_s) + SOONEST_S))

    def is_worth_an_edit(self, shown: Snapshot | None) -> bool:
        """Return True if a viewer of ``shown`` would notice the change."""
        if shown is None:
            return True
        return (
            self.stage != shown.stage
            or self.position != shown.position
            or self.preview != shown.preview
            or self.is_lost != shown.is_lost
            or (self.done_at is None) != (shown.done_at is None)
            or self.fraction - shown.fraction >= _SMALLEST_MOVE
        )

    def _estimated(self, now_s: float) -> Snapshot:
        """Return the snapshot with an estimate from the job's own pace so far.

        The service's estimate stays until enough work is done to know the pace.
        """
        began_s, began_fraction = began = self.began or (now_s, self.fraction)
        moved = self.fraction - began_fraction
        if moved < _SMALLEST_MOVE:
            return replace(self, began=began)
        left_s = (now_s - began_s) * (1 - self.fraction) / moved
        return replace(self, began=began, done_at=round(now_s + left_s))
