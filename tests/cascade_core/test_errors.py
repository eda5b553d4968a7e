import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import CascadeError, Internal, all_errors, from_dict

every_error = pytest.mark.parametrize("cls", all_errors().values(), ids=all_errors().keys())


@every_error
@pytest.mark.parametrize("field", [None, "steps"])
def test_every_error_crosses_a_process_border(cls: type[CascadeError], field: str | None) -> None:
    error = cls("it did not work", field)

    for copied in (pickle.loads(pickle.dumps(error)), from_dict(error.to_dict())):
        assert type(copied) is cls
        assert (str(copied), copied.field) == ("it did not work", field)
        assert (copied.code, copied.retryable) == (cls.code, cls.retryable)


def test_codes_are_unique_and_stable() -> None:
    retryable = {code for code, cls in all_errors().items() if cls.retryable}

    assert retryable == {
        "moderation_failed",
        "provenance_failed",
        "out_of_memory",
        "stage_lost",
        "not_ready",
        "rate_limited",
    }
    assert set(all_errors()) - retryable == {
        "invalid_value",
        "unsupported_combination",
        "unauthorized",
        "forbidden",
        "cross_origin",
        "not_found",
        "model_not_found",
        "not_acceptable",
        "gone",
        "conflict",
        "idempotency_mismatch",
        "four_eyes",
        "asset_conflict",
        "asset_protected",
        "asset_damaged",
        "record_newer",
        "cancelled",
        "wire_invalid",
        "handoff_invalid",
        "moderation_blocked",
        "model_mismatch",
        "model_unavailable",
        "non_finite_latent",
        "settings_invalid",
        "deadline_exceeded",
        "cannot_be_served",
        "timeout",
        "database_newer",
        "database_older",
        "internal",
    }


def test_a_code_of_a_newer_service_becomes_internal() -> None:
    error = from_dict({"code": "from_the_future", "message": "hm"})

    assert type(error) is Internal
    assert str(error) == "hm"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@given(st.dictionaries(st.sampled_from(["code", "message", "field"]), json_values))
def test_any_json_body_becomes_some_error(body: dict[str, object]) -> None:
    error = from_dict(body)

    assert isinstance(error, CascadeError)
    assert isinstance(error.message, str)
