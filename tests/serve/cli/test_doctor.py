"""``cascade doctor`` and its checks."""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from serve.cli.machine_checks import check_acceleration, check_open_files, check_python
from serve.cli.port_checks import check_port, check_port_to_start
from serve.local import open_files
from serve.local.private_files import is_private
from serve.local.ray_access import make_token
from serve.provenance.certificates import VALID_FOR, make_credentials
from serve.settings import Settings
from serve.studio.files import PREACT, STATIC, StudioFiles
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService


def _findings(cascade: Cascade) -> dict[str, dict[str, str]]:
    found = json.loads(cascade("doctor", "--json").stdout)
    return {finding["name"]: finding for finding in found}


def test_the_doctor_says_why_a_database_cannot_be_used(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "cascade.db"
    file.write_bytes(bytes(range(256)) * 40)
    found = _findings(cascade)
    for name in ("database", "access"):
        assert found[name]["status"] == "broken"
        assert "file is not a database" in found[name]["detail"]


def test_the_doctor_tries_to_write_to_the_database(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert _findings(cascade)["database"]["status"] == "ok"
    file = tmp_path / "data" / "cascade.db"
    environment.setenv("CASCADE_DATABASE_URL", f"sqlite:///file:{file}?mode=ro&uri=true")
    found = _findings(cascade)["database"]
    assert found["status"] == "broken"
    assert "readonly database" in found["detail"]


def test_doctor_finds_nothing_wrong_on_a_good_machine(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    result = cascade("doctor")
    assert result.exit_code == 0, result.output
    assert "server" in result.stdout
    assert "FAIL" not in result.stdout


def test_doctor_names_a_missing_weight_file_with_a_remedy_and_exits_1(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEMO_MODEL_DIR, model)
    next((model / "decoder").glob("*.safetensors")).unlink()
    environment.setenv("CASCADE_MODEL", str(model))
    result = cascade("doctor")
    assert result.exit_code == 1
    assert str(model / "decoder") in result.stdout
    assert "-> correct CASCADE_MODEL" in result.stdout


def test_doctor_blames_the_model_alone_for_a_model_folder_that_is_missing(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("CASCADE_MODEL", str(tmp_path / "nowhere"))
    found = _findings(cascade)
    assert found["model"]["status"] == "broken"
    assert f"{tmp_path / 'nowhere'} does not exist" in found["model"]["detail"]
    assert found["moderation"]["status"] == "ok"
    words = tmp_path / "words.txt"
    words.write_text("gore\n")
    environment.setenv("CASCADE_BLOCKLIST", str(words))
    assert _findings(cascade)["moderation"]["status"] == "warning"


def test_doctor_finds_a_hub_model_without_a_pinned_revision_and_fetches_nothing(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("CASCADE_MODEL", "stabilityai/stable-cascade")
    environment.setenv("CASCADE_MODEL_REVISION", "main")
    model = _findings(cascade)["model"]
    assert model["status"] == "broken"
    assert "40-digit commit" in model["detail"]
    environment.setenv("CASCADE_MODEL_REVISION", "0" * 40)
    found = _findings(cascade)
    assert found["model"]["detail"].endswith("is fetched from the hub when the service starts")
    assert (found["model"]["status"], found["moderation"]["status"]) == ("ok", "ok")


@pytest.mark.parametrize(
    ("model", "status", "told"),
    [
        ("demo", "ok", "demo may be offered to others (Apache-2.0)"),
        (f"stabilityai/stable-cascade@{'a' * 40}", "warning", "may NOT be offered to others"),
        (f"warp-ai/wuerstchen@{'a' * 40}", "ok", "may be offered to others (MIT)"),
        (f"stabilityai/stable-diffusion-xl-base-1.0@{'a' * 40}", "warning", "Open RAIL++-M"),
        (
            f"made-up/model@{'a' * 40}",
            "warning",
            "(not known by its hub id)",
        ),
    ],
)
def test_doctor_says_which_models_may_not_be_offered_to_others(
    cascade: Cascade, environment: pytest.MonkeyPatch, model: str, status: str, told: str
) -> None:
    environment.setenv("CASCADE_MODELS", model)
    found = _findings(cascade)["licence"]
    assert found["status"] == status
    assert told in found["detail"]
    assert bool(found["remedy"]) is (status == "warning")


def test_doctor_finds_a_data_folder_and_stores_that_cannot_be_used(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    found = _findings(cascade)
    for name in ("data folder", "database", "access", "blob store"):
        assert found[name]["status"] == "broken"
        assert found[name]["remedy"]


def test_doctor_finds_an_address_that_is_open_without_keys(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    assert _findings(cascade)["access"]["status"] == "ok"
    environment.setenv("CASCADE_HTTP_HOST", "0.0.0.0")
    access = _findings(cascade)["access"]
    assert access["status"] == "broken"
    assert "cascade keys create" in access["remedy"]


def test_doctor_warns_when_every_api_key_is_revoked(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    key_id = json.loads(cascade("keys", "create", "ann", "--json").stdout)["id"]
    access = _findings(cascade)["access"]
    assert (access["status"], access["detail"]) == ("ok", "callers with an API key (1 valid)")
    cascade("keys", "revoke", key_id)
    access = _findings(cascade)["access"]
    assert access["status"] == "warning"
    assert "every API key is revoked" in access["detail"]
    assert "cascade keys create" in access["remedy"]


def test_doctor_finds_a_blocklist_that_holds_no_rule(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("gore\n")
    environment.setenv("CASCADE_BLOCKLIST", str(words))
    assert _findings(cascade)["moderation"] == {
        "name": "moderation",
        "status": "ok",
        "detail": str(words),
        "remedy": "",
    }
    words.write_text("gore\n---\n")
    moderation = _findings(cascade)["moderation"]
    assert moderation["status"] == "broken"
    assert "CASCADE_BLOCKLIST: line 2" in moderation["detail"]


def test_doctor_says_that_a_server_is_still_starting(
    cascade: Cascade, environment: pytest.MonkeyPatch, service: ScriptedService
) -> None:
    service.is_ready = False
    server = _findings(cascade)["server"]
    assert server["status"] == "warning"
    assert "stage C is starting" in server["detail"]


def test_doctor_reports_wrong_settings_without_going_on(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("CASCADE_MAX_ROWS", "many")
    found = _findings(cascade)
    assert found["settings"]["status"] == "broken"
    assert "CASCADE_MAX_ROWS" in found["settings"]["detail"]


def test_doctor_reports_a_wrong_port_that_its_own_address_depends_on(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("CASCADE_HTTP_PORT", "abc")
    result = Cascade("")("doctor", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)[-1]
    assert (found["name"], found["status"]) == ("settings", "broken")
    assert "CASCADE_HTTP_PORT" in found["detail"]


def test_a_taken_port_is_broken_unless_the_service_itself_has_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(http_port=other.getsockname()[1], data_dir=tmp_path)
        assert check_port(settings, is_served=False).status == "broken"
        assert check_port(settings, is_served=True).status == "ok"


def test_a_start_where_the_service_runs_already_is_told_that(
    service: ScriptedService, tmp_path: Path
) -> None:
    port = httpx.URL(service.url).port
    assert port is not None
    found = check_port_to_start(Settings(http_port=port, data_dir=tmp_path))
    assert found.status == "broken"
    assert found.detail == f"the service is at {service.url} already"


def test_an_old_python_is_broken() -> None:
    for version in ((3, 10, 12), (3, 14, 0)):
        assert check_python(version).status == "broken"
    for version in ((3, 11, 0), (3, 12, 0), (3, 13, 9)):
        assert check_python(version).status == "ok"


def test_the_doctor_warns_of_a_limit_of_open_files_below_the_streams() -> None:
    settings = Settings(max_streams=300)
    assert check_open_files(settings, 300 + open_files.SPARE).status == "ok"
    finding = check_open_files(settings, 299 + open_files.SPARE)
    assert finding.status == "warning"
    assert "CASCADE_MAX_STREAMS=300 needs 1324" in finding.detail
    assert "ulimit" in finding.remedy


def test_doctor_warns_of_a_data_folder_that_others_can_read(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    found = _findings(cascade)["data folder"]
    assert found["status"] == "warning"
    assert "names of the files" in found["detail"]
    assert found["remedy"] == f"chmod -R go= {tmp_path / 'data'}"
    (tmp_path / "data" / "cascade.db").chmod(0o644)
    found = _findings(cascade)["data folder"]
    assert found["status"] == "warning"
    assert "can read" in found["detail"]
    assert "prompts" in found["detail"]
    (tmp_path / "data").chmod(0o700)
    assert _findings(cascade)["data folder"]["status"] == "ok"


def test_what_doctor_itself_writes_is_private(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        _findings(cascade)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    written = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert len(written) > 2
    assert [path for path in written if not is_private(path)] == []


def test_doctor_finds_rays_token_turned_off_and_one_that_others_can_read(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("RAY_AUTH_MODE", "disabled")
    found = _findings(cascade)["ray access"]
    assert found["status"] == "broken"
    assert "RAY_AUTH_MODE" in found["detail"]
    environment.delenv("RAY_AUTH_MODE")
    make_token(tmp_path / "data").chmod(0o640)
    found = _findings(cascade)["ray access"]
    assert found["status"] == "warning"
    assert str(tmp_path / "data" / "ray_token") in found["remedy"]


def test_what_compiles_and_records_steps_is_looked_for_only_if_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    chosen = Settings(device="cpu", data_dir=tmp_path)
    assert check_acceleration(chosen).status == "ok"
    found = check_acceleration(chosen.model_copy(update={"compile": True}))
    assert found.status == "broken"
    assert found.detail.startswith("CASCADE_COMPILE: ")
    assert "g++" in found.detail
    found = check_acceleration(chosen.model_copy(update={"cuda_graphs_gb": 1.0}))
    assert found.status == "broken"
    assert found.detail.startswith("CASCADE_CUDA_GRAPHS_GB needs a GPU")


@pytest.mark.parametrize("is_installed", [True, False])
def test_doctor_warns_where_the_page_cannot_be_served(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path, is_installed: bool
) -> None:
    static = shutil.copytree(STATIC, tmp_path / "static", ignore=lambda *_: {"vendor"})
    if is_installed:
        (static / PREACT).parent.mkdir()
        (static / PREACT).touch()
    environment.setattr("serve.studio.files.studio_files", lambda: StudioFiles(static))
    found = _findings(cascade)["studio"]
    assert found["status"] == ("ok" if is_installed else "warning")
    assert ("make install" in found["remedy"]) is not is_installed


def test_it_says_which_marks_of_machine_made_pictures_are_on(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    marks = _findings(cascade)["marks"]
    assert marks["status"] == "ok"
    assert (
        "in XMP that a model made them, with prompts; not signed, no watermark" in marks["detail"]
    )
    assert "Article 50 of the EU AI Act" in marks["detail"]
    environment.setenv("CASCADE_PROMPTS_IN_FILES", "false")
    environment.setenv("CASCADE_WATERMARKER", "tests.serve.provenance.watermarkers:InLowestBits")
    detail = _findings(cascade)["marks"]["detail"]
    assert "without prompts; not signed, watermark org.example.lowest-bits" in detail
    environment.setenv("CASCADE_WATERMARKER", "builtins:object")
    assert _findings(cascade)["marks"]["status"] == "broken"


def test_it_says_that_pictures_are_signed_and_warns_of_a_certificate_that_ends(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cascade("provenance", "init").exit_code == 0
    (folder,) = tmp_path.rglob("provenance")
    environment.setenv("CASCADE_C2PA_CERT", str(folder / "chain.pem"))
    environment.setenv("CASCADE_C2PA_KEY", str(folder / "signer.key"))
    marks = _findings(cascade)["marks"]
    assert marks["status"] == "ok"
    assert "; signed, no watermark" in marks["detail"]
    old = make_credentials(datetime.now(UTC) - VALID_FOR + timedelta(days=3))
    (folder / "chain.pem").write_text(old.chain_pem, encoding="ascii")
    assert _findings(cascade)["marks"]["status"] == "broken"  # the key is another's
    (folder / "signer.key").write_text(old.key_pem, encoding="ascii")
    assert _findings(cascade)["marks"]["status"] == "warning"
