"""``cascade config``."""

from __future__ import annotations

import json

import pytest

from tests.serve.cli.cascade import Cascade


def test_config_shows_value_and_source_and_hides_passwords(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("CASCADE_DATABASE_URL", "postgresql://cascade:geheim@db/cascade")
    result = cascade("config", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["CASCADE_DATABASE_URL"]["value"] == "postgresql://cascade:***@db/cascade"
    assert rows["CASCADE_DATABASE_URL"]["source"] == "environment"
    assert rows["CASCADE_MODEL"] == {"name": "CASCADE_MODEL", "value": "demo", "source": "default"}


def test_config_names_every_wrong_variable_and_exits_2(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("CASCADE_HTTP_PORT", "http")
    environment.setenv("CASCADE_DTYPE", "int8")
    result = cascade("config")
    assert result.exit_code == 2
    assert "CASCADE_HTTP_PORT" in result.stderr
    assert "CASCADE_DTYPE" in result.stderr
