"""Has torch compile the blocks of a U-Net: its step then launches fewer, larger kernels.

Block by block, as that takes a part of the time that the whole network would take: blocks that are
equal but for their weights share their code. All sides of pictures share it, too; one row alone and
several rows do not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, Final

from cascade_core.errors import SettingsInvalid
from cascade_core.models.blocks import AttentionBlock, ResBlock, TimeBlock
from cascade_core.models.network import Network

MAX_VERSIONS: Final = 64
"""Of one class of block: one for each of its widths, with and without features of the way down, for
one row and for several. Beyond torch's own limit, 8, a step would fail."""


def compile_blocks(unet: Network, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have torch compile the blocks, each kind at its first step.

    Args:
        unet: changed in place.
        backend: of torch.compile.
    """
    for module in unet.modules():
        if isinstance(module, ResBlock | TimeBlock | AttentionBlock):
            module.compile(
                fullgraph=True, dynamic=True, recompile_limit=MAX_VERSIONS, backend=backend
            )


def check_compiler(device_type: str) -> None:
    """Check that torch finds what compiles its kernels.

    Args:
        device_type: ``cpu`` or ``cuda``.

    Raises:
        SettingsInvalid: no compiler is there.
    """
    # As torch's inductor (torch/_inductor/config.py, cpp.cxx) and triton (runtime/build.py) search.
    language, variable, usual = "C++", "CXX", ["g++"]
    if device_type == "cuda":
        language, variable, usual = "C", "CC", ["gcc", "clang"]
    names = [os.environ[variable]] if os.environ.get(variable) else usual
    if not any(map(shutil.which, names)):
        raise SettingsInvalid(
            f"torch cannot compile for {device_type} here, as it finds no {language} compiler "
            f"({' or '.join(names)}): install one, name it in {variable}, or leave compile off"
        )
