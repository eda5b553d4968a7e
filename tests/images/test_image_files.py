"""The image files name what is there: sources, packages, users, commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

from serve.proxies import callback, haproxy, ray_proxy
from serve.settings import all_variables
from serve.studio.files import PREACT, STATIC
from tests.images.dockerfiles import IMAGES, copied_from_context, is_sent, of
from tests.k8s.manifests import OVERLAYS, ROOT, pods

FILES = ("serve.Dockerfile", "bot.Dockerfile")

for_each_file = pytest.mark.parametrize("file", FILES)


@for_each_file
def test_what_is_copied_is_there_and_sent_to_the_build(file: str) -> None:
    sources = copied_from_context(file)
    assert "pyproject.toml" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert is_sent(source), source


@for_each_file
def test_what_pyproject_names_is_copied(file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {project["readme"], "LICENSE", "constraints.txt"}
    # `cascade` loads every command that is registered, so its package must be there.
    for entries in (project["scripts"], *project["entry-points"].values()):
        named |= {entry.partition(".")[0] for entry in entries.values()}
    assert named <= set(copied_from_context(file))


def test_nothing_else_is_sent_to_the_build() -> None:
    assert not any(is_sent(path) for path in (".git", ".venv", "tests", "k8s/compose/.env", "out"))


@for_each_file
def test_it_ends_as_the_user_that_the_pods_run_as(file: str) -> None:
    (user,) = of(file, "USER")
    assert any(f"useradd --uid {user} " in run for run in of(file, "RUN"))
    image = f"cascade-{file.partition('.')[0]}:"
    for overlay in OVERLAYS:
        for pod in pods(overlay):
            if any(container["image"].startswith(image) for container in pod.containers):
                assert pod.spec["securityContext"]["runAsUser"] == int(user)


@for_each_file
def test_its_base_is_pinned_and_packages_come_by_the_constraints(file: str) -> None:
    arguments = dict(text.partition("=")[::2] for text in of(file, "ARG"))
    assert re.fullmatch(r"python:3\.11-slim-\w+", arguments["PYTHON_IMAGE"])
    installs = [run for run in of(file, "RUN") if run.startswith("pip install")]
    assert all("--constraint constraints.txt" in run or "--no-deps" in run for run in installs)


@for_each_file
def test_the_variables_it_sets_are_settings(file: str) -> None:
    named = {word for text in of(file, "ENV") for word in re.findall(r"(CASCADE_\w+)=", text)}
    named |= {text.partition("=")[0] for text in of(file, "ARG") if text.startswith("CASCADE_")}
    assert named <= all_variables().keys()


@for_each_file
def test_its_entry_point_is_our_command(file: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = of(file, "ENTRYPOINT")
    assert json.loads(entry)[0] in scripts


def test_ray_runs_our_command_as_haproxy() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    variables = " ".join(of("serve.Dockerfile", "ENV")).split()
    name = haproxy.COMMAND.name
    assert f"{haproxy.BINARY_VARIABLE}=/opt/cascade/bin/{name}" in variables
    assert scripts[name] == f"{haproxy.__name__}:{haproxy.main.__name__}"


def test_rays_http_servers_run_our_callback() -> None:
    variables = " ".join(of("serve.Dockerfile", "ENV")).split()
    assert f"{callback.CALLBACK_VARIABLE}={callback.CALLBACK}" in variables
    module, _, name = callback.CALLBACK.rpartition(".")
    assert (module, name) == (ray_proxy.__name__, ray_proxy.middlewares.__name__)


def test_the_image_of_ray_pods_has_what_kuberays_probes_run() -> None:
    # bash is part of the base image.
    assert any("apt-get install" in run and " wget" in run for run in of("serve.Dockerfile", "RUN"))


BOT_REQUIREMENTS = [
    Requirement(line)
    for line in (IMAGES / "bot-requirements.txt").read_text().splitlines()
    if not line.startswith("#")
]


def with_dependencies(requirements: list[Requirement]) -> set[str]:
    """Return the names of the installed distributions that these need, themselves included."""
    found: set[str] = set()
    left = list(requirements)
    while left:
        requirement = left.pop()
        extras = {"extra": ""} if not requirement.extras else {"extra": min(requirement.extras)}
        name = requirement.name.lower().replace("_", "-").replace(".", "-")
        if name in found or (requirement.marker and not requirement.marker.evaluate(extras)):
            continue
        try:
            needed = distribution(requirement.name).requires or []
        except PackageNotFoundError:  # for another platform
            continue
        found.add(name)
        left += [r for r in map(Requirement, needed) if not (r.marker and "extra" in str(r.marker))]
    return found


def test_the_bots_packages_are_few_and_pinned() -> None:
    found = with_dependencies(BOT_REQUIREMENTS)
    assert not found & {"torch", "ray", "diffusers", "transformers", "numpy", "sqlalchemy", "dbos"}
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").replace(".", "-")
    assert {name for name in found if f"\n{name}==" not in pins} == set()


_PROGRAM = """
import sys
from importlib.metadata import packages_distributions

ALLOWED = set(sys.argv[1].split(","))
OWNERS = packages_distributions()


class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = {o.lower().replace("_", "-").replace(".", "-") for o in OWNERS.get(top, ())}
        if owners and not owners & ALLOWED and top not in ("bot", "cascade_core", "serve"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, OnlyThese())
sys.argv = ["cascade", *sys.argv[2:]]
import bot.run
from serve.cli.main import run

run()
"""


def test_the_bots_command_starts_with_its_packages_alone() -> None:
    (arguments,) = of("bot.Dockerfile", "CMD")
    allowed = ",".join(with_dependencies(BOT_REQUIREMENTS))
    # Its modules are all imported first, as --help alone would need few of them.
    command = [sys.executable, "-c", _PROGRAM, allowed, *json.loads(arguments), "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pages_library_is_installed_by_npm_in_a_stage_that_is_left_behind() -> None:
    assert not is_sent("serve/studio/static/vendor/preact.js")
    assert "python -m serve.studio.install_preact" in of("serve.Dockerfile", "RUN")
    stages = [text.rpartition(" AS ")[2] for text in of("serve.Dockerfile", "FROM")]
    assert stages[0] == "studio"
    copies = [text for text in of("serve.Dockerfile", "COPY") if text.startswith("--from=studio")]
    folder = STATIC.relative_to(ROOT) / PREACT.partition("/")[0]
    assert copies == [f"--from=studio /src/{folder}/ {folder}/"]
