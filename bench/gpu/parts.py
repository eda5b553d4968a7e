"""The parts of the benchmark: each measures rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch

from bench.gpu import ceilings, load, pictures, rows
from bench.gpu.results import Results
from bench.gpu.timing import Clock, in_turns
from bench.gpu.variants import PLAIN, UNETS, RandomModel, Variant, make_variant
from bench.published import SCALES
from bench.stats import summary
from cascade_core.request import GenerationRequest

Rows = dict[str, dict[str, Any]]
"""Figures by the name of their row."""
FEW_STEPS = 2
"""Of pictures that only warm up."""


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes:
        side_px, steps, decoder_steps: of the usual picture.
        repeats: of each picture.
        sides_px: sizes under load and in shared steps.
        step_shares: under mixed load, Stage C's steps and how often they are asked for.
        sharing: how many requests share a step.
        shared_steps: steps measured of each such number.
        clients: that ask at once at saturation.
        per_client: pictures of each, per round.
        rounds: of saturation.
        max_rows: limits of an engine under load.
        arrivals: mixed requests.
    """

    side_px: int = 1024
    steps: int = 20
    decoder_steps: int = 10
    repeats: int = 5
    sides_px: tuple[int, ...] = (512, 768, 1024)
    step_shares: tuple[tuple[int, float], ...] = ((10, 0.45), (20, 0.40), (50, 0.15))
    sharing: tuple[int, ...] = (1, 2, 4, 8)
    shared_steps: int = 10
    clients: int = 16
    per_client: int = 1
    rounds: int = 3
    max_rows: tuple[int, ...] = (1, 2, 4)
    arrivals: int = 60


DRY_RUN: Final = Plan(
    side_px=256,
    steps=3,
    repeats=2,
    decoder_steps=3,
    sides_px=(256,),
    step_shares=((2, 0.5), (3, 0.5)),
    sharing=(1, 2),
    shared_steps=2,
    clients=2,
    rounds=1,
    max_rows=(2,),
    arrivals=3,
)


class Bench:
    """Measures one model on one device.

    Args:
        device: where.
        dtype: of all weights.
        scale: the model's size, of :data:`bench.published.SCALES`.
        results: gets the figures.
        names: of the variants that make pictures one at a time.
        compiled: the U-Nets that variants compile or record, if they do so at all.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        scale: str,
        results: Results,
        names: Sequence[str],
        compiled: Sequence[str] = UNETS,
    ) -> None:
        self._device, self._dtype, self._scale = device, dtype, SCALES[scale]
        self._plan = DRY_RUN if scale == "tiny" else Plan()
        self._results, self._names, self._compiled = results, names, compiled
        self._clock = Clock(device)
        self._variants: dict[str, Any] = {}
        self._model = RandomModel.make(self._scale, device, dtype)

    def run(self, part: str) -> None:
        """Measure one of :data:`PARTS`."""
        self._results.attempt_all(part, "all", partial(PARTS[part], self))

    def _ceilings(self) -> Rows:
        work = partial(ceilings.flop, self._scale, self._request())
        self._results.attempt("ceilings", "flop", work)
        return ceilings.measure(self._device, self._dtype)

    def _pictures(self) -> Rows:
        request, ready, firsts = self._request(), dict[str, Variant](), Rows()
        for name in self._names:
            row, first = self._row_name(name), partial(self._first, name, request)
            if figures := self._results.attempt("pictures", row, first):
                ready[row], firsts[row] = self._variant(name), figures
        measured = pictures.measure(ready, request, self._plan.repeats)
        return {name: firsts[name] | figures for name, figures in measured.items()}

    def _first(self, name: str, request: GenerationRequest) -> dict[str, Any]:
        return pictures.first(self._variant(name), request, self._clock)

    def _rows(self) -> Rows:
        ours, plan = self._variant("ours"), self._plan
        for side_px in plan.sides_px:
            request = self._request(side_px)
            for name, (stage, task) in rows.tasks(ours, request, plan.shared_steps).items():
                for count in plan.sharing:
                    what = {"stage": name, "side_px": side_px, "count": count}
                    measure = partial(rows.measure, stage, task, count, self._clock)
                    self._results.attempt("rows", " ".join(map(str, what.values())), measure, what)
        return {}

    def _saturation(self) -> Rows:
        plan = self._plan
        requests = [self._request()] * (plan.clients * plan.per_client)
        few = [replace(one, steps=FEW_STEPS, decoder_steps=FEW_STEPS) for one in requests]
        stock, ours = self._variant("stock"), self._variant("ours")

        def chained(most: int, asked: list[GenerationRequest]) -> float:
            with load.Chain(ours, most) as chain:
                return load.pictures_per_s(chain.draw, asked, plan.clients)

        for most in plan.max_rows:
            chained(most, few)
        works = {"stock": partial(load.pictures_per_s, stock.draw, requests, 1)}
        works |= {_at_most(most): partial(chained, most, requests) for most in plan.max_rows}
        rates = in_turns(works, plan.rounds)
        return {name: {"pictures_per_s": summary(values)} for name, values in rates.items()}

    def _mixed(self) -> Rows:
        plan, stock, ours = self._plan, self._variant("stock"), self._variant("ours")
        shares = {
            (side_px, steps): share / len(plan.sides_px)
            for side_px in plan.sides_px
            for steps, share in plan.step_shares
        }
        requests = {kind: self._request(*kind) for kind in shares}
        alone_s = load.solo_s(stock.draw, requests, plan.repeats)
        rate = load.LOAD / sum(share * alone_s[kind] for kind, share in shares.items())
        due = list(load.arrivals(shares, rate, plan.arrivals))
        found = {"stock": load.under_load(stock.draw, requests, due, alone_s, 1)}
        for most in plan.max_rows:
            with load.Chain(ours, most) as chain:
                answered = load.under_load(chain.draw, requests, due, alone_s, len(due))
            found[_at_most(most)] = answered
        return {name: figures | {"rate_per_s": rate} for name, figures in found.items()}

    def _variant(self, name: str) -> Any:
        if name not in self._variants:
            how = (self._model, self._clock, self._plan.side_px, self._compiled)
            self._variants[name] = make_variant(name, *how)
        return self._variants[name]

    def _row_name(self, variant: str) -> str:
        is_whole = variant in PLAIN or set(self._compiled) == set(UNETS)
        return variant if is_whole else f"{variant}, of the U-Nets {self._compiled[0]} only"

    def _request(self, side_px: int = 0, steps: int = 0) -> GenerationRequest:
        side_px = side_px or self._plan.side_px
        return GenerationRequest(
            prompt="a lighthouse at dawn",
            width=side_px,
            height=side_px,
            seed=1,
            decoder_seed=1,
            steps=steps or self._plan.steps,
            decoder_steps=self._plan.decoder_steps,
        )


PARTS: Final[dict[str, Callable[[Bench], Rows]]] = {
    "ceilings": Bench._ceilings,
    "pictures": Bench._pictures,
    "rows": Bench._rows,
    "saturation": Bench._saturation,
    "mixed": Bench._mixed,
}


def _at_most(rows: int) -> str:
    return f"ours, at most {rows} rows"
