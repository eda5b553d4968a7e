"""The compose file names what is there, too."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from serve.settings import Settings, load_settings
from tests.k8s.manifests import ROOT
from tests.k8s.test_references import OTHER_VARIABLES, OUR_IMAGES

FOLDER = ROOT / "k8s" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("serve", "bot")


def read(compose: dict[str, Any]) -> PyCompose:
    """Read it as Docker Compose does; an unknown key raises."""
    return PyCompose.from_yaml(yaml.safe_dump(compose))


def test_compose_knows_each_of_its_keys() -> None:
    assert set(read(COMPOSE).service_names()) == SERVICES.keys()
    mistyped = COMPOSE | {"services": {"serve": SERVICES["serve"] | {"comand": "up"}}}
    with pytest.raises(ValueError, match="comand"):
        read(mistyped)


def test_images_are_ours_of_this_version_or_pinned() -> None:
    for service in SERVICES.values():
        name, _, tag = service["image"].rpartition(":")
        assert tag in OUR_IMAGES[name] if name in OUR_IMAGES else re.search(r"\d+[.-]\d+", tag)


def test_what_is_built_is_there() -> None:
    for name in OURS:
        build = SERVICES[name]["build"]
        context = (FOLDER / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()
        for argument in build.get("args", {}):
            assert re.search(
                rf"^ARG {argument}\b", (context / build["dockerfile"]).read_text(), re.M
            )


def test_the_service_knows_each_of_its_variables_and_accepts_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = SERVICES["serve"]["environment"]
    known = {f"CASCADE_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert variables.keys() - known == {"AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"}
    for name, value in variables.items():
        monkeypatch.setenv(name, re.sub(r"\$\{.*?\}", "secret", value))
    load_settings()


def test_volumes_and_services_that_are_named_are_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= SERVICES.keys()
        mounted = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert mounted <= COMPOSE["volumes"].keys()
    hosts = set(re.findall(r"(?://|@)(\w+)(?=[:/]\w)", str(SERVICES))) - {"127", "cascade"}
    assert hosts <= SERVICES.keys() | {"download"}


def test_secrets_are_asked_for_and_never_have_a_default() -> None:
    asked = dict(re.findall(r"\$\{(\w+):?(.)", (FOLDER / "compose.yaml").read_text()))
    example = dict(line.split("=") for line in (FOLDER / "example.env").read_text().split())
    assert asked.keys() == example.keys()
    assert set(example.values()) == {""}
    assert all(how in "?-" for how in asked.values())


def test_our_containers_are_confined() -> None:
    for name in OURS:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_commands_are_commands_of_the_image() -> None:
    words = [word for word in SERVICES["serve"]["command"] if not word.startswith(("-", "0"))]
    command = [sys.executable, "-m", "serve.cli.main", *words, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--host" in done.stdout
