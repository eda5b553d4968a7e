"""Where the parts of a model lie in its folders, as data of its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Size = Literal["full", "lite"]
Variant = Literal["", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFolders:
    """The names that the folder of one component may have.

    Attributes:
        choices: best first. A folder that holds the whole model prefixes the prior's parts with
            ``prior_``; a repository of the prior alone does not.
        in_prior: it is in the prior's repository, if the model has two.
        has_lite: the model also has it in a smaller size, in folders that end in ``_lite``.
    """

    choices: tuple[str, ...]
    in_prior: bool = False
    has_lite: bool = False

    def of_size(self, size: Size) -> tuple[str, ...]:
        """Return the names of the folder with the chosen size, best first."""
        if size == "full" or not self.has_lite:
            return self.choices
        return tuple(f"{name}_lite" for name in self.choices)


def folders_of_sizes(
    table: Mapping[str, ComponentFolders], prior_size: Size, decoder_size: Size
) -> dict[str, tuple[str, ...]]:
    """Return each component's possible folder names, best first."""
    return {
        name: folders.of_size(prior_size if folders.in_prior else decoder_size)
        for name, folders in table.items()
    }
