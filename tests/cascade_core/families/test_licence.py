"""What licences allow: the open ones by name, the published ones by their publishers."""

from __future__ import annotations

import pytest

from cascade_core.families.licence import Licence, stated_licence, strictest
from cascade_core.families.registry import FAMILIES, published_licence
from cascade_core.families.stable_cascade import STABLE_CASCADE


@pytest.mark.parametrize("text", ["Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "apache-2.0"])
def test_an_open_licence_allows_both(text: str) -> None:
    assert stated_licence(text) == Licence(text, "allowed", "allowed")


@pytest.mark.parametrize("text", ["MIT, but not for cats", "CC-BY-NC-4.0", "said to be MIT"])
def test_a_licence_that_is_not_known_has_to_be_read(text: str) -> None:
    assert stated_licence(text) == Licence(text, "check", "check")


def test_a_model_that_states_no_licence_has_to_be_checked() -> None:
    for family in FAMILIES.values():
        unstated = family.licence("own", "")
        assert (unstated.hosting, unstated.commercial) == ("check", "check"), family.name


def test_a_publishers_licence_counts_more_than_what_the_files_state() -> None:
    licence = STABLE_CASCADE.licence("stabilityai/stable-cascade", "MIT")
    assert (licence.hosting, licence.commercial) == ("forbidden", "forbidden")
    assert STABLE_CASCADE.licence("own", "MIT").hosting == "allowed"


@pytest.mark.parametrize(
    ("hub_id", "hosting"),
    [
        ("stabilityai/stable-cascade", "forbidden"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "check"),
        ("warp-ai/wuerstchen", "allowed"),
        ("black-forest-labs/FLUX.2-klein-4B", "allowed"),
        ("black-forest-labs/FLUX.2-klein-9B", "check"),
    ],
)
def test_of_one_publisher_each_model_has_its_own_licence(hub_id: str, hosting: str) -> None:
    licence = published_licence(hub_id)
    assert licence is not None
    assert licence.hosting == hosting


def test_the_licence_of_another_publisher_is_not_known() -> None:
    assert published_licence("made-up/stable-cascade") is None


def test_of_a_model_of_two_parts_the_stricter_licence_counts() -> None:
    own, forbidden = stated_licence("MIT"), Licence("not for profit", "check", "forbidden")
    assert strictest([own, forbidden]) == strictest([forbidden, own]) == forbidden
    assert strictest([own, own]) == own
    mixed = strictest([Licence("a", "forbidden", "allowed"), forbidden])
    assert (mixed.hosting, mixed.commercial) == ("forbidden", "forbidden")
