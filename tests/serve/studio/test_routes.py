"""The addresses of the page: what they answer, with which headers, and what they refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from serve.studio.files import MEDIA_TYPES, PREACT, StudioFiles
from tests.limits import HANG_S
from tests.serve.conftest import Bearer

PAGES = (
    "/studio",
    "/studio/",
    "/studio/library",
    "/studio/pictures/01KA0000000000000000000000",
    "/studio/compare/01KA0000000000000000000000/01KA0000000000000000000001",
    "/studio/queue",
    "/studio/admin",
)
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}
OUT_OF_THE_FOLDER = (
    "../routes.py",
    "core/../../files.py",
    "%2e%2e/files.py",
    "..%2ffiles.py",
    "..%5cfiles.py",
    "/etc/passwd",
    "%00app.js",
    "app.js%00.css",
    ".%2fapp.js",
    "core//api.js",
)


async def raw_answer(client: httpx.AsyncClient, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    async with asyncio.timeout(HANG_S):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("path", PAGES)
async def test_every_address_of_the_page_answers_with_it_under_its_policy(
    client: httpx.AsyncClient, bearer: Bearer, files: StudioFiles, path: str
) -> None:
    bearer("read")  # which no visitor of the page has yet
    answer = await client.get(path, headers=BROWSER)
    view = path.removeprefix("/studio").strip("/")
    assert (answer.status_code, answer.text) == (200, files.page(view))
    assert PAGE_HEADERS.items() <= dict(answer.headers).items()
    head = await client.head(path, headers=BROWSER)
    assert (head.status_code, head.content) == (200, b"")
    assert PAGE_HEADERS.items() <= dict(head.headers).items()


@pytest.mark.parametrize("path", ["favicon.ico", "app.js", "library/x.css", "assets", "assets/x"])
async def test_an_unknown_file_is_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/studio/{path}", headers=BROWSER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_files_have_their_types_and_are_kept_for_ever(
    client: httpx.AsyncClient, bearer: Bearer, files: StudioFiles, folder: Path
) -> None:
    bearer("read")
    names = ("app.js", "core/api.js", "styles/base.css", "locale/de/frame.json", "icon.svg")
    assert {Path(name).suffix for name in names} == MEDIA_TYPES.keys()
    for name in names:
        url = f"/studio/assets/{files.digest}/{name}"
        answer = await client.get(url)
        assert (answer.status_code, answer.content) == (200, (folder / name).read_bytes())
        assert answer.headers["content-type"] == MEDIA_TYPES[Path(name).suffix]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert (await client.head(url)).headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "name", ["", "core", "core/", "index.html", "vendor/htm-LICENSE", "nothing.js", "APP.JS"]
)
async def test_folders_templates_and_licences_have_no_address(
    client: httpx.AsyncClient, files: StudioFiles, name: str
) -> None:
    answer = await client.get(f"/studio/assets/{files.digest}/{name}")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


async def test_files_of_another_release_are_not_mixed_with_these(
    client: httpx.AsyncClient, files: StudioFiles
) -> None:
    """A page that was opened before an upgrade must not load half of the new one."""
    answer = await client.get(f"/studio/assets/{'0' * 12}/app.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


async def test_no_path_leads_out_of_the_folder(
    live_client: httpx.AsyncClient, files: StudioFiles
) -> None:
    """As bytes on the wire: clients resolve dots before they send a path."""
    for path in OUT_OF_THE_FOLDER:
        answer = await raw_answer(live_client, f"/studio/assets/{files.digest}/{path}")
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b"import" not in answer, path


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (BROWSER["accept"], 307),
        ("text/html", 307),
        ("application/json", 404),
        ("*/*", 404),
        ("", 404),
    ],
)
async def test_the_root_leads_browsers_to_the_page_and_programs_nowhere(
    client: httpx.AsyncClient, accept: str, status: int
) -> None:
    for method in ("GET", "HEAD"):
        answer = await client.request(method, "/", headers={"accept": accept, "host": "x.example"})
        assert answer.status_code == status
        assert answer.headers.get("location") == ("/studio" if status == 307 else None)
    if status == 404:
        answer = await client.get("/", headers={"accept": accept})
        assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/studio", "/studio/library", "/studio/assets/0/app.js"])
async def test_the_page_is_only_read(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_only_what_the_page_needs_before_a_sign_in_is_public(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    bearer("read")
    for path in ("/studiox", "/studi", "/v1/studio", "/x/studio/", "/studio/../v1/jobs"):
        assert (await client.get(path, headers=BROWSER)).status_code == 401, path


async def test_the_page_is_no_part_of_the_api(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not {path for path in paths if path == "/" or path.startswith("/studio")}


async def test_opening_the_page_costs_no_requests_of_the_key(
    client: httpx.AsyncClient, bearer: Bearer, files: StudioFiles
) -> None:
    headers = bearer("read", per_minute=1)
    for _ in range(3):
        url = f"/studio/assets/{files.digest}/app.js"
        assert (await client.get(url, headers=headers)).status_code == 200
    assert (await client.get("/v1/jobs", headers=headers)).status_code == 200
    assert (await client.get("/v1/jobs", headers=headers)).status_code == 429


class TestWithoutPreact:
    @pytest.fixture
    def files(self, folder: Path) -> StudioFiles:
        (folder / PREACT).unlink()
        return StudioFiles(folder)

    async def test_the_page_says_so_under_the_same_policy_and_the_rest_works(
        self, client: httpx.AsyncClient, files: StudioFiles
    ) -> None:
        answer = await client.get("/studio/library", headers=BROWSER)
        assert (answer.status_code, answer.text) == (503, files.page())
        assert PAGE_HEADERS.items() <= dict(answer.headers).items()
        styles = f"/studio/assets/{files.digest}/styles/base.css"
        assert (await client.get(styles)).status_code == 200
        assert (await client.post("/v1/jobs", json={"prompt": "x"})).status_code == 202
