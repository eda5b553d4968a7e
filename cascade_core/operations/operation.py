"""What every kind of job answers: its fields, its route through the stages, its images' seeds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Protocol, TypeVar

from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import MAX_IMAGES


class RoutedStage(Protocol):
    """What a route depends on.

    Attributes:
        keeps_output: the stage's output is stored for later jobs.
        draws_details: it draws details of its own on what it takes.
        scales: it can draw what it takes at another size.
    """

    @property
    def keeps_output(self) -> bool: ...  # noqa: D102

    @property
    def draws_details(self) -> bool: ...  # noqa: D102

    @property
    def scales(self) -> bool: ...  # noqa: D102


StageT = TypeVar("StageT", bound=RoutedStage)
Values = Mapping[str, object]


class Operation(ABC):
    """One kind of job; `cascade_core.operations.registry` lists them all.

    Attributes:
        name: the ``kind`` of its jobs.
        title: what its jobs make, for people.
        fields: what a client may choose, see :data:`cascade_core.operations.fields.FIELDS`.
        required: the fields that a client must give.
        copied: by field, the one whose value it takes if the client leaves it out.
        latent_field: the field in which a client names the stored latent, if one is needed.
        max_images: images of one job at most.
        fixed_by_latent: what the stored latent decides, if one is named; empty for jobs that start
            from none.
        seeds: the fields to which image ``i`` of a job adds ``i``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    required: ClassVar[tuple[str, ...]] = ()
    copied: ClassVar[Mapping[str, str]] = MappingProxyType({})
    latent_field: ClassVar[str] = "latent_id"
    max_images: ClassVar[int] = MAX_IMAGES
    fixed_by_latent: ClassVar[tuple[str, ...]] = ()
    seeds: ClassVar[tuple[str, ...]]

    @property
    def starts_from_latent(self) -> bool:
        """Return True if its images start from a stored latent."""
        return bool(self.fixed_by_latent)

    @property
    def image_kind(self) -> str:
        """Return the kind of job that makes one of its images alone from the same latent."""
        return self.name

    @property
    def takes_image(self) -> bool:
        """Return True if its jobs name an upload or a picture as ``image``.

        The latent of a picture is their ``latent_id``.
        """
        return "image" in self.fields

    def defaults(self, _model: ModelDefaults) -> dict[str, object]:
        """Return the values of fields that a client leaves out, if they are the same for all jobs.

        Other values come from the field that :attr:`copied` names, are random if they are seeds,
        and come from the stored latent otherwise.
        """
        return {"n": 1, "format": "png"}

    @abstractmethod
    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return those of a family's stages that each image passes, in order."""

    @abstractmethod
    def check(self, given: Values) -> None:
        """Check which fields a client has given, before anything is looked up for it.

        Args:
            given: the client's values without ``kind``; each has the type of its field.

        Raises:
            InvalidRequest: a field is missing or empty.
            Unsupported: a field does not go with this kind of job.
        """

    @abstractmethod
    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Return every value of the request; seeds that were not given are random.

        Args:
            given: the client's values, which have passed :meth:`check`.
            defaults: the model's.
            source: the request that made the stored latent, or the size of an upload; None if it
                starts from neither.

        Raises:
            InvalidRequest: a value is outside what this model can do.
        """

    def values_of_image(self, _values: Values, _index: int) -> dict[str, object]:
        """Return what image ``index`` of a request has of its own, besides its seeds.

        Args:
            _values: of the request.
            _index: of the image.
        """
        return {}

    def field_of_text(self, name: str, _index: int) -> str:
        """Return the field in which a client gives a text of image ``index``.

        Args:
            name: ``prompt`` or ``negative_prompt``.
            _index: of the image.
        """
        return name
