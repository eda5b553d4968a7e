"""What a file says of its origin: credentials, marks, the picture that it names, and near ones."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cascade_core.images.ai_mark import SOURCE_TYPE
from cascade_core.images.image_files import convert_image, encode_image, read_pixels
from serve.gateway.dependencies import Services
from serve.maintenance.thumbnails import make_missing
from serve.provenance.certificates import make_credentials
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from serve.provenance.watermarks import payload_of
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.provenance.watermarkers import InLowestBits

CREDENTIALS = make_credentials()
SIGNER = PictureSigner(FileKey(CREDENTIALS.chain_pem, CREDENTIALS.key_pem))
NOT_SIGNED = {
    "state": "none",
    "codes": [],
    "signer": "",
    "created_at": None,
    "actions": [],
    "ingredients": [],
}
ORIGIN = Origin(ModelPassport("demo", "r1", "f1", "Apache-2.0"), "generate")
NOISE = np.random.default_rng(7).integers(0, 255, (64, 96, 3), np.uint8)


@pytest.fixture
def fake_jobs(fake_jobs: FakeJobsClient) -> FakeJobsClient:
    fake_jobs.signer = SIGNER
    return fake_jobs


async def asked(client: httpx.AsyncClient, data: bytes, **options: Any) -> httpx.Response:
    return await client.post("/v1/verify", files={"file": ("x", data)}, **options)


async def verified(client: httpx.AsyncClient, data: bytes, **options: Any) -> dict[str, Any]:
    answer = await asked(client, data, **options)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def finished(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, **options: Any
) -> tuple[dict[str, Any], bytes]:
    """Return a picture with its fingerprint, and its file."""
    headers = options.pop("headers", None)
    job = (await client.post("/v1/jobs", json={"prompt": "x"} | options, headers=headers)).json()
    await fake_jobs.run(job["id"])
    await make_missing(fake_jobs.database, fake_jobs.blobs)
    (image,) = (await client.get(f"/v1/jobs/{job['id']}", headers=headers)).json()["images"]
    data = (await client.get(f"/v1/images/{image['id']}", headers=headers)).content
    return image, data


async def test_a_picture_of_this_service_is_known_with_all_that_made_it(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image, data = await finished(client, fake_jobs)
    shown = await verified(client, data)
    assert shown["credentials"]["state"] == "trusted"
    (action,) = shown["credentials"]["actions"]
    assert (action["action"], action["model"]) == ("c2pa.created", "demo r1")
    assert shown["xmp"] == {
        "digital_source_type": SOURCE_TYPE,
        "system": "demo",
        "version": "r1",
    }
    assert shown["ours"] == {"image_id": image["id"], "latent_id": image["latent_id"]}
    assert shown["nearest"] == [{"image_id": image["id"], "distance": 0}]
    assert shown["is_damaged"] is False


async def test_a_copy_without_all_that_names_the_picture_is_recognised_by_its_pixels(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image, data = await finished(client, fake_jobs)
    bare = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((128, 192)).save(bare, "JPEG", quality=60)
    shown = await verified(client, bare.getvalue())
    assert (shown["credentials"], shown["xmp"], shown["ours"]) == (NOT_SIGNED, None, None)
    assert [near["image_id"] for near in shown["nearest"]] == [image["id"]]


async def test_a_watermark_tells_which_picture_a_copy_without_marks_is(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, services: Services
) -> None:
    services.watermarker = InLowestBits()
    image, data = await finished(client, fake_jobs)
    assert (await verified(client, data))["watermark"] is None
    marked = InLowestBits().embed(read_pixels(data), payload_of(image["id"]))
    found = (await verified(client, encode_image(marked, "png", None)))["watermark"]
    assert found == {"payload": payload_of(image["id"]).hex(), "image_id": image["id"]}
    other = encode_image(InLowestBits().embed(NOISE, payload_of("other")), "png", None)
    assert (await verified(client, other))["watermark"]["image_id"] is None


async def test_a_conversion_is_trusted_and_names_its_parent(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image, _ = await finished(client, fake_jobs)
    converted = (await client.get(f"/v1/images/{image['id']}?format=webp")).content
    found = (await verified(client, converted))["credentials"]
    assert found["state"] == "trusted"
    assert [one["action"] for one in found["actions"]] == ["c2pa.opened", "c2pa.converted"]
    assert found["ingredients"] == [{"relationship": "parentOf", "is_signed": True}]


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
async def test_a_changed_file_is_invalid_and_says_so_even_if_its_pixels_cannot_be_read(
    client: httpx.AsyncClient, image_format: Any
) -> None:
    file = PictureFile(encode_image(NOISE, image_format, None), image_format)
    changed = bytearray(SIGNER.sign_new(file, ORIGIN))
    changed[600 if image_format == "webp" else -400] ^= 1  # pixels: the manifest is elsewhere
    found = await verified(client, bytes(changed))
    assert found["credentials"]["state"] == "invalid"
    assert found["credentials"]["codes"] == ["assertion.dataHash.mismatch"]
    assert found["is_damaged"] is (image_format == "png")  # whose parts have checksums


async def test_a_signature_of_an_authority_that_is_not_trusted_here_is_only_valid(
    client: httpx.AsyncClient, services: Services
) -> None:
    stranger = make_credentials()
    signer = PictureSigner(FileKey(stranger.chain_pem, stranger.key_pem))
    data = signer.sign_new(PictureFile(encode_image(NOISE, "png", None), "png"), ORIGIN)
    found = (await verified(client, data))["credentials"]
    assert (found["state"], found["codes"]) == ("valid", ["signingCredential.untrusted"])


async def test_a_caller_learns_nothing_of_pictures_that_it_does_not_see(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    owner, other, reviewer = bearer("create", "read"), bearer("read"), bearer("read", "review")
    image, data = await finished(client, fake_jobs, headers=owner)
    assert (await verified(client, data, headers=owner))["ours"]["image_id"] == image["id"]

    async def seen(headers: dict[str, str], **params: str) -> tuple[object, object]:
        shown = await verified(client, data, headers=headers, params=params)
        assert shown["credentials"]["state"] == "trusted"
        return shown["ours"], shown["nearest"]

    assert await seen(other) == (None, [])
    assert await seen(reviewer) == (None, [])
    url = f"/v1/assets/{image['id']}/transitions"
    assert (await client.post(url, json={"action": "submit"}, headers=owner)).is_success
    assert await seen(other) == (None, [])
    ours, nearest = await seen(reviewer)
    assert ours == {"image_id": image["id"], "latent_id": image["latent_id"]}
    assert nearest == [{"image_id": image["id"], "distance": 0}]


async def test_a_deleted_picture_is_not_named(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image, data = await finished(client, fake_jobs)
    await client.delete(f"/v1/images/{image['id']}")
    shown = await verified(client, data)
    assert (shown["ours"], shown["nearest"]) == (None, [])


@pytest.mark.parametrize("image_id", ["../x", "a\0b", "x" * 500, 5, None, ["a"], "\ud800"])
async def test_a_forged_name_of_a_picture_is_no_error(
    client: httpx.AsyncClient, image_id: Any
) -> None:
    texts, file = PngInfo(), io.BytesIO()
    texts.add_text("cascade", json.dumps({"v": 1, "image_id": image_id}))
    Image.fromarray(NOISE).save(file, "PNG", pnginfo=texts)
    assert (await verified(client, file.getvalue()))["ours"] is None


async def test_marks_of_other_programs_are_shown(client: httpx.AsyncClient) -> None:
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    forms = (
        f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{kind}"/>',
        f"<Iptc4xmpExt:DigitalSourceType>{kind}</Iptc4xmpExt:DigitalSourceType>",
        f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{kind}"/>',
    )
    for form in forms:
        file = io.BytesIO()
        Image.fromarray(NOISE).save(file, "JPEG", xmp=f"<x:xmpmeta>{form}</x:xmpmeta>".encode())
        shown = (await verified(client, file.getvalue()))["xmp"]
        assert shown == {"digital_source_type": kind, "system": "", "version": ""}


def chunk(name: bytes, data: bytes) -> bytes:
    ending = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + ending


def with_chunk(name: bytes, data: bytes, count: int = 1) -> bytes:
    """Return a sound PNG file with chunks after its header."""
    png = encode_image(NOISE, "png", None)
    return png[:33] + chunk(name, data) * count + png[33:]


HUGE = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
SIGNED = SIGNER.sign_new(PictureFile(encode_image(NOISE, "png", None), "png"), ORIGIN)
REFUSED = {
    "nothing": b"",
    "text": b"hello",
    "another format": b"GIF89a" + b"\0" * 100,
    "a bomb": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", HUGE) + chunk(b"IDAT", b""),
    "a wide picture": convert_image(
        encode_image(np.zeros((32, 32, 3), np.uint8), "png", None), "png"
    )[:16]
    + struct.pack(">II", 5000, 32),
    "a small picture": encode_image(NOISE[:16], "png", None),
}
INVALID = {
    "a box that ends too late": with_chunk(b"caBX", b"\xff\xff\xff\xffjumb"),
    "boxes in boxes": with_chunk(
        b"caBX", b"".join(struct.pack(">I4s", 8 * n, b"jumb") for n in range(50_000, 0, -1))
    ),
    "14 MB of one chunk": with_chunk(b"caBX", b"\0" * 14_000_000),
    "many chunks": with_chunk(b"caBX", b"", 50_000),
    "a manifest that is cut short": SIGNED[: len(SIGNED) // 2],
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_picture_of_a_possible_size_is_refused(
    client: httpx.AsyncClient, name: str
) -> None:
    answer = await asked(client, REFUSED[name])
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == "file"


@pytest.mark.parametrize("name", INVALID)
async def test_hostile_manifests_are_invalid_and_no_error(
    client: httpx.AsyncClient, name: str
) -> None:
    shown = await verified(client, INVALID[name])
    assert shown["credentials"] == NOT_SIGNED | {"state": "invalid", "codes": ["general.error"]}


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    answer = await asked(client, b"\0" * (16 * 1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


async def test_an_address_in_a_file_is_not_called(
    client: httpx.AsyncClient, listening: socket.socket
) -> None:
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/manifest.c2pa"
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/></rdf:RDF>'
        "</x:xmpmeta>"
    )
    for image_format in ("JPEG", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(NOISE).save(file, image_format, xmp=packet.encode())
        found = (await verified(client, file.getvalue()))["credentials"]
        assert found["state"] == "invalid"
        assert found["codes"] == ["manifest.inaccessible"]
    with pytest.raises(BlockingIOError):
        listening.accept()


async def test_a_key_needs_to_read_and_no_more(client: httpx.AsyncClient, bearer: Bearer) -> None:
    for headers, status in ((bearer("read"), 200), (bearer("create"), 403), ({}, 401)):
        assert (await asked(client, SIGNED, headers=headers)).status_code == status
