"""``cascade demo``: starts a service, makes two pictures over HTTP and stops, in under a minute."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade_core.checkpoints.model_folders import DEMO_MODEL
from cascade_core.operations.registry import GENERATE, VARY_DETAILS
from serve.cli.output import CliError, ExitCode, console, own_command, print_outcome, say
from serve.cli.suggestions import suggestions

if TYPE_CHECKING:
    from serve.cli.client import ServiceClient

_HOME = Path("out/demo")
_SEED = 7
_START_LIMIT_S = 300.0
"""A busy machine takes minutes; a service that cannot start ends long before."""
_STOP_LIMIT_S = 45.0
_LOG_TAIL_LINES = 20


def demo() -> None:
    """Start the service, make a picture over HTTP, vary its details, shut down."""
    from serve.cli.client import ServiceClient
    from serve.cli.submit import make_folder

    started_s = time.monotonic()
    home = _HOME / time.strftime("%Y%m%d-%H%M%S")
    make_folder(home)
    url = f"http://127.0.0.1:{_free_port()}"
    with _server(url, home), ServiceClient(url) as client:
        _two_pictures(client, home)
    say(f"demo done in {time.monotonic() - started_s:.0f} s; everything is in {home}")
    command = own_command()
    say(f"next: {command} up (or make up), then open the link to the studio that it prints")


def _two_pictures(client: ServiceClient, home: Path) -> None:
    prompt = suggestions(1, model=DEMO_MODEL)[0]
    say(f'\n1. generate "{prompt}"')
    first = _run(client, {"kind": GENERATE.name, "prompt": prompt, "seed": _SEED}, home)
    latent_id = first["images"][0]["latent_id"]
    kept = next(stage for stage in client.stages() if stage.keeps_output)
    name = f"Stage {kept.name.upper()}"
    say(f"\n2. vary details: the stored {name} latent, a new decoder seed")
    second = _run(client, {"kind": VARY_DETAILS.name, "latent_id": latent_id}, home)
    if second["images"][0]["latent_id"] != latent_id or second["cost"][kept.cost_key]:
        raise CliError("the second picture was not made from the stored latent", ExitCode.FAILED)
    seconds = first["cost"][kept.cost_key]
    say(f"\n{name} ran once: {seconds:.2f} s in job 1, 0 s in job 2, same latent.\n")


def _run(client: ServiceClient, body: dict[str, object], home: Path) -> dict[str, Any]:
    from serve.cli.output import job_failure
    from serve.cli.submit import save_image, watch

    job = watch(client, client.create_job(body), terminal_only=False)
    if job["state"] != "succeeded":
        raise job_failure(job)
    print_outcome(job, [save_image(client, job["id"], image, home) for image in job["images"]])
    return job


@contextmanager
def _server(url: str, home: Path) -> Iterator[None]:
    """Run ``cascade up`` in a process of its own, its output in a log file."""
    log = home / "server.log"
    # Without the user's own settings: the demo must not write into the user's database.
    inherited = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    chosen = {
        "CASCADE_HTTP_HOST": "127.0.0.1",
        "CASCADE_HTTP_PORT": url.rpartition(":")[2],
        "CASCADE_DATA_DIR": str(home.absolute() / "data"),
        # Otherwise a second demo in the same folder would reuse the latent and skip Stage C.
        "CASCADE_REUSE_LATENTS": "false",
    }
    command = [sys.executable, "-m", "serve.cli.main", "up"]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches this process alone, which then stops the server once.
        process = subprocess.Popen(
            command,
            env=inherited | chosen,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(url, process, log)
            yield
        finally:
            _stop(process)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    from serve.cli.client import ServiceClient

    started_s = time.monotonic()
    reason = "starting"
    say(f"starting the service at {url} (log: {log})")
    with ServiceClient(url) as client, console(stderr=True).status("starting Ray and the stages"):
        while reason:
            if process.poll() is not None:
                raise _start_failure("the service ended while it started", log)
            if time.monotonic() - started_s > _START_LIMIT_S:
                raise _start_failure(f"not ready after {_START_LIMIT_S:g} s: {reason}", log)
            time.sleep(0.2)
            reason = client.unready_reason()
    say(f"ready after {time.monotonic() - started_s:.1f} s")


def _start_failure(message: str, log: Path) -> CliError:
    tail = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return CliError("\n  ".join([message, *tail]), ExitCode.FAILED, "cascade doctor")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        say("stopping the service")
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_setting(name: str) -> bool:
    return name.startswith("CASCADE_")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
