"""The compose files name what is there, too."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from typer.testing import CliRunner

import bot.settings as bot_settings
from serve.cli.main import app
from serve.settings import all_variables, load_settings
from tests.images.dockerfiles import of
from tests.k8s.compose import COMPOSE, FILES, FOLDER, WITH_GPU
from tests.k8s.manifests import ROOT
from tests.k8s.test_references import OTHER_VARIABLES, OUR_IMAGES

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("serve", "bot")

for_each_variant = pytest.mark.parametrize("compose", [COMPOSE, WITH_GPU], ids=["cpu", "gpu"])


def read(compose: dict[str, Any]) -> PyCompose:
    """Read it as Docker Compose does; an unknown key raises."""
    return PyCompose.from_yaml(yaml.safe_dump(compose))


@for_each_variant
def test_compose_knows_each_of_its_keys(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(read(compose).service_names()) == services.keys()
    mistyped = compose | {"services": {"serve": services["serve"] | {"comand": "up"}}}
    with pytest.raises(ValueError, match="comand"):
        read(mistyped)


@for_each_variant
def test_images_are_ours_of_this_version_or_a_version_that_is_kept_up(
    compose: dict[str, Any],
) -> None:
    for service in compose["services"].values():
        name, _, tag = service["image"].rpartition(":")
        assert tag in OUR_IMAGES[name] if name in OUR_IMAGES else re.fullmatch(r"\d+", tag)


@for_each_variant
def test_what_is_built_is_there(compose: dict[str, Any]) -> None:
    for name in OURS:
        build = compose["services"][name]["build"]
        context = (FOLDER / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()
        for argument in build.get("args", {}):
            assert re.search(
                rf"^ARG {argument}\b", (context / build["dockerfile"]).read_text(), re.M
            )


@for_each_variant
def test_the_service_knows_each_of_its_variables_and_accepts_their_values(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = compose["services"]["serve"]["environment"]
    known = all_variables().keys() | OTHER_VARIABLES
    of_logs = {"RAY_ROTATION_MAX_BYTES", "RAY_ROTATION_BACKUP_COUNT"}
    assert variables.keys() - of_logs <= known
    for name, value in variables.items():
        with_defaults = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        monkeypatch.setenv(name, re.sub(r"\$\{.*?\}", "secret", with_defaults))
    load_settings()


def test_the_bot_knows_each_of_its_variables() -> None:
    known = {bot_settings.variable(name) for name in bot_settings.Settings.model_fields}
    assert SERVICES["bot"]["environment"].keys() <= known
    assert f":{bot_settings.Settings.model_fields['http_port'].default}/healthz" in str(
        SERVICES["bot"]["healthcheck"]["test"]
    )


@for_each_variant
def test_volumes_networks_and_services_that_are_named_are_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", [])) <= services.keys()
        assert set(service["networks"]) <= compose["networks"].keys()
        mounted = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert mounted <= compose["volumes"].keys()
    hosts = set(re.findall(r"(?://|@)(\w+)(?=[:/]\w)", str(services))) - {"127", "cascade"}
    assert hosts <= services.keys() | {"download"}


def test_what_is_written_outside_of_tmp_is_on_a_volume() -> None:
    folders = re.findall(
        r"(?:HF_HOME|CASCADE_DATA_DIR)=(\S+)", " ".join(of("serve.Dockerfile", "ENV"))
    )
    assert set(folders) == {"/data", "/opt/models"}
    written = {volume.partition(":")[2] for volume in WITH_GPU["services"]["serve"]["volumes"]}
    assert written == set(folders)
    # The demo model is part of the image, so nothing is fetched.
    assert SERVICES["serve"]["environment"]["CASCADE_MODEL"] == "demo"
    for name in OURS:
        assert any(mount.partition(":")[0] == "/tmp" for mount in SERVICES[name]["tmpfs"])


def test_the_database_is_reached_by_the_service_alone_and_reaches_nothing() -> None:
    members = {
        network: {name for name, service in SERVICES.items() if network in service["networks"]}
        for network in COMPOSE["networks"]
    }
    assert members == {"stores": {"database", "serve"}, "clients": {"serve", "bot"}}
    assert COMPOSE["networks"]["stores"]["internal"] is True


def test_the_bot_is_started_when_it_is_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == {"bot"}


@for_each_variant
def test_every_service_tells_how_it_does_and_has_time_to_start(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert name == "database" or service["healthcheck"]["start_period"].endswith("m")


def test_secrets_are_asked_for_and_never_have_a_default() -> None:
    lines = (FOLDER / "example.env").read_text().splitlines()
    example = dict(line.split("=") for line in lines if not line.startswith("#"))
    asked: dict[str, str] = {}
    for file in FILES:
        asked |= dict(re.findall(r"\$\{(\w+):(\?|-\w*)", (FOLDER / file).read_text()))
    assert asked.keys() == example.keys()
    assert set(example.values()) == {""}
    assert {how for name, how in asked.items() if name != "CASCADE_MODEL"} == {"?", "-"}
    assert asked["POSTGRES_PASSWORD"] == "?"


@for_each_variant
def test_our_containers_are_confined(compose: dict[str, Any]) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["init"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_gpu_variant_takes_the_cuda_build_and_a_gpu() -> None:
    serve = WITH_GPU["services"]["serve"]
    assert serve["image"].endswith("-cuda")
    assert serve["build"]["args"]["TORCH_INDEX"] == ""
    (device,) = serve["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_commands_are_commands_of_the_image() -> None:
    words = [word for word in SERVICES["serve"]["command"] if not word.startswith(("-", "0"))]
    helped = CliRunner().invoke(app, [*words, "--help"])
    assert helped.exit_code == 0, helped.stderr
    assert "--host" in helped.stdout
