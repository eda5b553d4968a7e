"""What clients are told of a model's operations is what the operations do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cascade_core.errors import CascadeError
from cascade_core.families.operation_info import (
    FieldInfo,
    OperationInfo,
    operations_in,
    operations_of,
)
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import DETAIL_FIELDS
from cascade_core.operations.registry import OPERATIONS
from cascade_core.request import GenerationRequest

DEFAULTS = ModelDefaults(width=256, height=384, max_side=512, steps=12, decoder_steps=6)
SOURCE = GenerationRequest(
    prompt="a fox", negative_prompt="a dog", width=512, height=256, seed=3, decoder_seed=4, steps=9
).to_dict()
GIVEN = {
    "prompt": "a fox",
    "latent_id": "01J",
    "image": "01K",
    "hero": "01J",
    "template": "a {colour} fox",
    "variants": [{"colour": "red"}],
}
INFOS = operations_of(STABLE_CASCADE, DEFAULTS)

operations = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)


def of(info: OperationInfo, name: str) -> FieldInfo:
    return next(field for field in info.fields if field.name == name)


def required(info: OperationInfo) -> dict[str, object]:
    return {field.name: GIVEN[field.name] for field in info.fields if field.is_required}


def completed(info: OperationInfo, given: dict[str, object]) -> dict[str, object]:
    operation = next(one for one in OPERATIONS.values() if one.name == info.name)
    operation.check(given)
    has_source = operation.latent_field in given or operation.takes_image
    values = operation.complete(given, DEFAULTS, SOURCE if has_source else None)
    return GenerationRequest.from_dict(values).to_dict()


def test_all_that_the_familys_stages_can_do_is_told_with_the_stages() -> None:
    assert [info.name for info in INFOS] == list(STABLE_CASCADE.operations)
    stages = {info.name: info.stages for info in INFOS}
    assert stages["generate"] == ("c", "b", "a")
    assert stages["vary"] == ("c", "b", "a")
    assert stages["vary_details"] == stages["decode"] == ("b", "a")


def test_a_family_that_keeps_no_output_offers_nothing_that_starts_from_one() -> None:
    first, *others = STABLE_CASCADE.stages
    family = Family(name="one", stages=(replace(first, keeps_output=False), *others))
    (generate,) = operations_of(family, DEFAULTS)
    assert generate.name == "generate"
    assert "stop_after" not in {field.name for field in generate.fields}


def test_clients_are_not_told_of_fields_that_a_family_lacks() -> None:
    lacks = ("negative_prompt", "guidance_scale", *DETAIL_FIELDS)
    family = replace(STABLE_CASCADE, lacks=lacks)
    for info, whole in zip(operations_of(family, DEFAULTS), INFOS, strict=True):
        told = [field.name for field in info.fields]
        assert told == [field.name for field in whole.fields if field.name not in lacks]


@operations
def test_a_field_that_is_required_cannot_be_left_out_and_the_others_can(
    info: OperationInfo,
) -> None:
    given = required(info)
    completed(info, given)
    for name in given:
        with pytest.raises(CascadeError) as caught:
            completed(info, {other: value for other, value in given.items() if other != name})
        assert caught.value.field == name


@operations
def test_an_absent_field_has_the_default_that_is_told(info: OperationInfo) -> None:
    made = [completed(info, required(info)) for _ in range(4)]
    for field in info.fields:
        found = [request.get(field.name) for request in made]
        if field.is_required:
            assert (field.default, field.default_from) == (None, None)
        elif field.default is not None or field.default_from is None:
            assert found == [field.words.get(field.default, field.default)] * 4
        elif field.default_from in ("latent", "image"):
            assert found == [SOURCE[field.name]] * 4
        elif field.default_from == "random":
            assert len(set(found)) == 4
        else:
            assert field.default_from is not None
            assert found == [request[field.default_from] for request in made]


@operations
def test_the_limits_are_a_json_schema_that_takes_defaults_and_choices(info: OperationInfo) -> None:
    for field in info.fields:
        Draft202012Validator.check_schema(field.limits)
        validator = Draft202012Validator(field.limits)
        offered = [*field.choices, *([] if field.default is None else [field.default])]
        for value in offered:
            validator.validate(value)


def test_choices_of_sizes_and_formats_are_those_of_the_model() -> None:
    generate = next(info for info in INFOS if info.name == "generate")
    width = of(generate, "width")
    assert width.limits == {"type": "integer", "minimum": 256, "maximum": 512, "multipleOf": 128}
    assert width.choices == (256, 384, 512)
    assert of(generate, "stop_after").choices == ("c",)
    assert of(generate, "format").choices == ("png", "webp", "jpeg")
    assert of(generate, "prompt").choices == of(generate, "seed").choices == ()


def test_the_words_for_a_strength_are_the_models() -> None:
    model = replace(DEFAULTS, vary={"subtle": 0.6, "strong": 0.8})
    vary = next(info for info in operations_of(STABLE_CASCADE, model) if info.name == "vary")
    strength = of(vary, "strength")
    assert strength.words == {"subtle": 0.6, "strong": 0.8}
    assert (strength.choices, strength.default) == (("subtle", "strong"), "subtle")
    validator = Draft202012Validator(strength.limits)
    assert [validator.is_valid(value) for value in ("strong", 0.5, "weak", 1.5)] == [
        True,
        True,
        False,
        False,
    ]


def test_the_operations_are_read_from_what_a_service_lists() -> None:
    listed = json.loads(json.dumps([asdict(info) | {"added": "later"} for info in INFOS]))
    listed[0]["fields"][0]["added"] = "later"
    found = operations_in({"operations": listed})
    assert [info.name for info in found] == [info.name for info in INFOS]
    assert of(found[0], "width").limits == of(INFOS[0], "width").limits
    assert operations_in({}) == ()
