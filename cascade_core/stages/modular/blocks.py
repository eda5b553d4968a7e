"""Divides a modular pipeline of diffusers at its loop, so that its steps can be done one by one.

diffusers asks its users not to call blocks by themselves but to make a pipeline of them. So the
blocks before the loop and the loop become one pipeline, whose loop stops before its first step.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import diffusers
from diffusers.modular_pipelines.modular_pipeline import (
    LoopSequentialPipelineBlocks,
    SequentialPipelineBlocks,
)

from cascade_core.errors import ModelUnavailable
from cascade_core.stages.modular.recipes import Recipe

LOOP_STATE: Final = "state_of_the_loop"
"""The name under which the stopped loop leaves its block state in the pipeline's state."""
_OF_THE_REQUEST: Final = {"height", "width"}


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """The parts of one workflow.

    Attributes:
        until_loop: all blocks up to the loop, which stops before its first step.
        loop: the loop itself: its ``loop_step`` does a step, its ``set_block_state`` ends it.
        unpacking: the blocks after the loop up to the first that has weights: they shape latents.
        decoding: the others, which make pixels.
        handed_over: the names of the values that the blocks after the loop take from those before.
    """

    until_loop: Any
    loop: Any
    unpacking: Any
    decoding: Any
    handed_over: tuple[str, ...]

    @property
    def after_loop(self) -> Any:
        """All blocks after the loop."""
        return _sequence({**self.unpacking.sub_blocks, **self.decoding.sub_blocks})


class _LoopReached(Exception):
    """The loop is about to do its first step.

    Args:
        block_state: of the loop.
    """

    def __init__(self, block_state: Any) -> None:
        super().__init__()
        self.block_state = block_state


def divide(recipe: Recipe) -> Division:
    """Divide the blocks of a recipe.

    Raises:
        ModelUnavailable: the installed diffusers has no such blocks, or other than one loop.
    """
    whole = getattr(diffusers, recipe.blocks, None)
    if whole is None:
        raise ModelUnavailable(f"diffusers {diffusers.__version__} has no {recipe.blocks}")
    blocks = dict(whole().get_execution_blocks(**recipe.triggers).sub_blocks)
    names = list(blocks)
    loops = [name for name in names if isinstance(blocks[name], LoopSequentialPipelineBlocks)]
    if len(loops) != 1:
        raise ModelUnavailable(f"{recipe.blocks} of diffusers has {len(loops)} loops, not one")
    loop = blocks[loops[0]]
    before, after = (
        {name: blocks[name] for name in part}
        for part in (names[: names.index(loops[0])], names[names.index(loops[0]) + 1 :])
    )
    until_loop = _sequence({**before, loops[0]: _stopped(loop)})
    unpacking = dict(takewhile(lambda item: not _has_weights(item[1]), after.items()))
    decoding = {name: block for name, block in after.items() if name not in unpacking}
    made = set(until_loop.intermediate_output_names) - _OF_THE_REQUEST
    handed_over = tuple(name for name in _sequence(after).input_names if name in made)
    return Division(until_loop, loop, _sequence(unpacking), _sequence(decoding), handed_over)


def _sequence(blocks: dict[str, Any]) -> Any:
    return SequentialPipelineBlocks.from_blocks_dict(blocks)


def _has_weights(block: Any) -> bool:
    return any(spec.default_creation_method != "from_config" for spec in block.expected_components)


def _stopped(loop: Any) -> Any:
    """Return a copy of a loop that prepares as the loop does and stops before the first step.

    What a loop prepares differs from model to model; so its own code runs, and is left.
    """
    kind = type(loop)

    def loop_step(_self: Any, _components: Any, block_state: Any, **_step: Any) -> None:
        raise _LoopReached(block_state)

    def call(self: Any, components: Any, state: Any) -> tuple[Any, Any]:
        try:
            kind.__call__(self, components, state)
        except _LoopReached as reached:
            state.set(LOOP_STATE, reached.block_state)
        return components, state

    stopped = copy.copy(loop)
    stopped.__class__ = type(
        f"Stopped{kind.__name__}", (kind,), {"loop_step": loop_step, "__call__": call}
    )
    return stopped
