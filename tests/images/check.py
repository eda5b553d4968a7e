"""Runs the built images for real: ``python -m tests.images.check VERSION``.

The service starts in its image as its user, on a read-only root with the volumes that compose gives
it, and makes a picture; the bot in its own shows one to a person at the emulator of Discord. `make
images` builds the images first.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.images.containers import Confinement, Container, as_in_compose, engine
from tests.ray.client import free_port
from tests.wire.bot_messages import has_button
from tests.wire.fake_discord.server import FakeDiscord

ROOT = Path(__file__).parents[2]
PROMPT = "a large red circle in the center on a white background"
PATIENCE_S = 300
NOT_RUN = (
    "compose itself, its networks, health checks and init; PostgreSQL beside the service",
    "the CUDA build of torch, and a GPU",
    "pods: KubeRay, its probes and init containers",
)


def main(version: str) -> None:
    """Check both images."""
    with tempfile.TemporaryDirectory(prefix="cascade-images-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        service, bot = f"cascade-serve:{version}-cpu", f"cascade-bot:{version}"
        check_confinement(service, folder)
        port = free_port()
        with running(service, folder, "up", "--port", str(port)) as (container, log):
            url = f"http://127.0.0.1:{port}"
            ready_s = wait_until(lambda: is_ready(url), container, log)
            say(f"service ready after {ready_s:.0f} s")
            check_page(url)
            check_picture(url)
            asyncio.run(check_bot(bot, url, folder))
            code = container.stop(90)
            assert code == 0, f"the service ended with {code}:\n{log.read_text()}"
        say("service ended when it was told to")
    base = " (on Debian's Python, not on the python image)" if engine() == "buildah" else ""
    print(f"both images work, run by {engine()}{base}; not run here:")
    for what in (*NOT_RUN, *(["docker and podman"] if engine() == "buildah" else [])):
        print(f"  {what}")


def check_confinement(image: str, folder: Path) -> None:
    """The process is the image's user, and nothing but its volumes can be written."""
    script = (
        'test "$(id -u)" = 10001 && touch /data/x /tmp/x'
        " && ! touch /opt/x 2>/dev/null && ! touch /home/cascade/x 2>/dev/null"
        " && grep -q 'CapBnd:.0*$' /proc/self/status && grep -q 'NoNewPrivs:.1' /proc/self/status"
    )
    with running(image, folder, "sh", "-c", script, entrypoint=False) as (container, log):
        code = container.wait(60)
        assert code == 0, f"not confined as told ({code}): {log.read_text()}"
    say("confined: uid 10001, read-only root, no capabilities")


def check_picture(url: str) -> None:
    """A picture is made."""
    body = {"prompt": PROMPT, "seed": 7}
    headers = {"prefer": "wait=120"}
    job = httpx.post(f"{url}/v1/jobs", json=body, headers=headers, timeout=150, trust_env=False)
    assert job.json()["state"] == "succeeded", job.text
    image = httpx.get(f"{url}/v1/images/{job.json()['images'][0]['id']}", trust_env=False)
    assert image.content.startswith(b"\x89PNG")
    say("service made a picture")


def check_page(url: str) -> None:
    """The studio page is complete."""
    page = httpx.get(f"{url}/studio", trust_env=False)
    assert page.status_code == 200, page.text
    say("service shows the studio page")


async def check_bot(image: str, url: str, folder: Path) -> None:
    """The bot's image serves a person at the emulator of Discord."""
    async with FakeDiscord() as fake:
        guild = fake.guild()
        channel, alice = fake.channel(guild), fake.person("alice", guild)
        doors = {"API": fake.api_url, "GATEWAY": fake.gateway_url, "CDN": fake.cdn_url}
        env = {f"FAKE_DISCORD_{name}": door for name, door in doors.items()}
        env |= {"DISCORD_TOKEN": fake.token, "CASCADE_URL": url, "BOT_HTTP_PORT": "0"}
        # The bot's code is the image's; the file only tells discord.py where Discord is.
        told = {"/opt/run_bot.py": ROOT / "tests" / "wire" / "run_bot.py"}
        command = ("python", "/opt/run_bot.py", "bot")
        with running(image, folder, *command, env=env, more=told, entrypoint=False) as (bot, log):
            await fake.online(PATIENCE_S)
            await fake.wait_for(lambda: bool(fake.commands), PATIENCE_S)
            fake.rules.ack_deadline_s = 30
            asked = await alice.slash(channel, "imagine", prompt=PROMPT)
            message = await asked.reply(lambda m: has_button(m, "edit"), PATIENCE_S)
            assert message.files
            code = await asyncio.to_thread(bot.stop, 60)
            assert code == 0, f"the bot ended with {code}:\n{log.read_text()}"
    say("bot showed a picture, and ended when it was told to")


@contextmanager
def running(
    image: str,
    folder: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    more: dict[str, Path] | None = None,
    entrypoint: bool = True,
) -> Iterator[tuple[Container, Path]]:
    """Run a container as compose confines its service; gives it and the file of its log."""
    own = Path(tempfile.mkdtemp(dir=folder))
    own.chmod(0o755)
    usual = as_in_compose("bot" if "cascade-bot" in image else "serve", own)
    confinement = Confinement({**usual.volumes, **(more or {})}, usual.tmpfs)
    log = own / "log"
    with log.open("wb") as output:
        container = Container(
            image, *arguments, env=env or {}, confinement=confinement, output=output,
            entrypoint=entrypoint,
        )  # fmt: skip
        try:
            yield container, log
        finally:
            container.remove()


def is_ready(url: str) -> bool:
    """The service answers that it is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], container: Container, log: Path) -> float:
    """Wait while the container runs; returns the seconds."""
    start = time.monotonic()
    while not condition():
        assert container.is_running, f"the container ended:\n{log.read_text()}"
        assert time.monotonic() - start < PATIENCE_S, f"not in time:\n{log.read_text()}"
        time.sleep(0.2)
    return time.monotonic() - start


def say(what: str) -> None:
    """Print one result."""
    print(f"  {what}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
