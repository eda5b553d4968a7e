"""What the checkers say on each route that makes a job."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import ContentRefused, ModerationFailed, SettingsInvalid
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.checker import Checker, Refusal
from serve.gateway.dependencies import Services
from serve.moderation.blocklist import Blocklist
from serve.moderation.moderator import Moderator, load_checkers
from serve.settings import Settings
from serve.storage.records import JobOwner
from tests.ray.families.two_stages import TWO_STAGES
from tests.serve.api_calls import code, drafted, made
from tests.serve.checkers import Answering, ByUser, Hanging
from tests.serve.fake_jobs_client import PREVIEW, FakeJobsClient
from tests.serve.served import serve_instead, served

ANN, MALLORY = JobOwner("k", "ann"), JobOwner("k", "mallory")
RequestMaker = Callable[..., GenerationRequest]
SERIES = {"template": "a {colour} star", "variants": [{"colour": "red"}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "blocklist.txt"
    path.write_text("violence: gore\n")
    return path


@pytest.fixture
def change_list(path: Path) -> Callable[[str], object]:
    return path.write_text


@pytest.fixture
def checkers(path: Path) -> list[Checker]:
    return [Blocklist(path), ByUser()]


class Refusals:
    """What was counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def __call__(self, rule: str, what: str) -> None:
        self.counted.append((rule, what))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    checker = Hanging()
    yield checker
    checker.released.set()


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
async def test_a_refused_text_is_a_bad_request_that_names_the_rule_and_not_the_word(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, field: str
) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a cat", field: "Much GORE"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("moderation_blocked", field)
    assert "'violence'" in error["message"]
    assert "gore" not in error["message"].lower()
    assert fake_jobs.database.jobs.page() == ([], None)


async def test_a_trusted_keys_end_users_are_known_to_the_checker(
    client: httpx.AsyncClient, bearer: Callable[..., dict[str, str]]
) -> None:
    headers = bearer("create", "trusted")
    for user, status in (("mallory", 400), ("ann", 202)):
        body = {"prompt": "a cat", "user": user}
        assert (await client.post("/v1/jobs", json=body, headers=headers)).status_code == status


async def test_a_latent_whose_prompt_is_refused_by_now_cannot_be_varied(
    client: httpx.AsyncClient, running: FakeJobsClient, change_list: Callable[[str], object]
) -> None:
    job = (await client.post("/v1/jobs", json={"prompt": "a spider"})).json()
    latent_id = running.images(job["id"])[0].latent_id
    change_list("fear: spider\n")
    body = {"kind": "vary_details", "latent_id": latent_id}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("moderation_blocked", "latent_id")
    assert error["message"] == "the prompt of this latent is refused by the rule 'fear'"


async def test_a_new_prompt_is_checked_and_does_not_free_the_latent_it_starts_from(
    client: httpx.AsyncClient, running: FakeJobsClient, change_list: Callable[[str], object]
) -> None:
    job = (await client.post("/v1/jobs", json={"prompt": "a spider"})).json()
    change_list("fear: spider\nviolence: gore\n")
    image = running.images(job["id"])[0]
    vary = {"kind": "vary", "latent_id": image.latent_id}
    other = {"prompt": "a cat", "strength": 0}
    bodies: list[tuple[dict[str, Any], str]] = [
        (vary, "latent_id"),
        (vary | {"negative_prompt": "x"}, "latent_id"),
        (vary | other, "latent_id"),
        (vary | {"prompt": "gore"}, "prompt"),
        ({"kind": "image_to_image", "image": image.id} | other, "image"),
        ({"kind": "series", "hero": image.latent_id} | SERIES, "hero"),
    ]
    for body, field in bodies:
        answer = await client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, field), body
    change_list("violence: gore\n")
    assert (await client.post("/v1/jobs", json=vary | other)).status_code == 202


@pytest.mark.parametrize("way", ["continue", "redo"])
@pytest.mark.parametrize("starts_from_latent", [False, True])
async def test_a_draft_whose_texts_are_refused_by_now_goes_on_waiting(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    services: Services,
    tmp_path: Path,
    change_list: Callable[[str], object],
    way: str,
    starts_from_latent: bool,
) -> None:
    serve_instead(services, previewer=tmp_path / "preview.json")
    body: dict[str, Any] = {"prompt": "a spider"}
    if starts_from_latent:
        [image] = (await made(client, fake_jobs, **body))["images"]
        body = {"kind": "vary", "latent_id": image["latent_id"], "prompt": "a cat"}
    job_id = (await drafted(client, fake_jobs, **body))["id"]
    change_list("fear: spider\n")
    answer = await client.post(f"/v1/jobs/{job_id}/{way}", json={"indices": [0]})
    assert (answer.status_code, code(answer)) == (400, "moderation_blocked")
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "waiting"
    change_list("violence: gore\n")
    answer = await client.post(f"/v1/jobs/{job_id}/{way}", json={"indices": [0]})
    assert answer.status_code == 202


async def test_texts_that_a_job_takes_from_its_latent_are_checked_once(
    make_request: RequestMaker,
) -> None:
    asked: list[str] = []

    class Asked(ByUser):
        def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> None:
            asked.append(request.kind)

    moderator, own = Moderator([Asked()], Refusals()), make_request()
    vary = make_request(kind="vary", latent_id="L", strength=0.5)
    await moderator.check_prompt(vary, ANN, latent_request=own)
    await moderator.check_prompt(replace(vary, prompt="a cat"), ANN, latent_request=own)
    assert asked == ["vary", "vary", "generate"]


async def test_every_prompt_of_a_series_is_checked_and_the_refused_variant_is_named(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    job = (await client.post("/v1/jobs", json={"prompt": "a spider"})).json()
    body = {"kind": "series", "hero": running.images(job["id"])[0].latent_id}
    body |= {"template": "much {what}", "variants": [{"what": "fun"}, {"what": "gore"}]}
    answer = await client.post("/v1/jobs", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (400, "variants[1]")
    assert error["message"] == "the prompt of variants[1] is refused by the rule 'violence'"
    body |= {"template": "{what}re", "variants": [{"what": "fun"}, {"what": "go"}]}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.json()["error"]["field"] == "variants[1]"
    body["variants"] = [{"what": "fun"}, {"what": "mo"}]
    assert (await client.post("/v1/jobs", json=body)).status_code == 202


async def test_a_heros_refused_negative_prompt_is_named_by_the_hero(
    client: httpx.AsyncClient, running: FakeJobsClient, change_list: Callable[[str], object]
) -> None:
    first = {"prompt": "a star", "negative_prompt": "a spider"}
    job = (await client.post("/v1/jobs", json=first)).json()
    change_list("fear: spider\n")
    body = {"kind": "series", "hero": running.images(job["id"])[0].latent_id}
    body |= {"template": "a {colour} star", "variants": [{"colour": "red"}]}
    answer = await client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "hero")


async def test_a_request_that_was_accepted_before_stays_accepted(
    client: httpx.AsyncClient, running: FakeJobsClient, change_list: Callable[[str], object]
) -> None:
    headers = {"idempotency-key": "one"}
    first = await client.post("/v1/jobs", json={"prompt": "a spider"}, headers=headers)
    change_list("fear: spider\n")
    again = await client.post("/v1/jobs", json={"prompt": "a spider"}, headers=headers)
    assert again.json()["id"] == first.json()["id"]


async def test_openais_client_raises_what_it_raises_for_openais_own_refusals(
    openai_client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.images.generate(prompt="gore")
    assert (caught.value.code, caught.value.param) == ("moderation_blocked", "prompt")
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.images.generate(prompt="gore", stream=True)
    assert caught.value.code == "moderation_blocked"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_openais_client_is_refused_a_variation_by_the_pictures_prompt(
    openai_client: AsyncOpenAI,
    live_client: httpx.AsyncClient,
    running: FakeJobsClient,
    change_list: Callable[[str], object],
) -> None:
    answer = await openai_client.images.generate(prompt="a spider", response_format="url")
    assert answer.data is not None
    file = (await live_client.get(answer.data[0].url or "")).content
    change_list("fear: spider\n")
    with pytest.raises(openai.BadRequestError, match="fear") as caught:
        await openai_client.images.create_variation(image=("a.png", io.BytesIO(file)))
    assert (caught.value.code, caught.value.param) == ("moderation_blocked", "image")


async def test_openais_client_learns_that_a_composition_was_refused(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    async def refuse(job_id: str) -> None:
        fake_jobs.finish(job_id, "failed", ContentRefused("refused by the rule 'nudity'"))

    fake_jobs.on_submit = refuse
    with pytest.raises(openai.BadRequestError, match="nudity") as caught:
        await openai_client.images.generate(prompt="a cat")
    assert caught.value.code == "moderation_blocked"
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_a_list_that_cannot_be_read_lets_nothing_pass(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, path: Path
) -> None:
    await asyncio.to_thread(path.unlink)
    answer = await client.post("/v1/jobs", json={"prompt": "a cat"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "moderation_failed"
    assert "retry-after" in answer.headers
    assert str(path) not in answer.text
    assert fake_jobs.database.jobs.page() == ([], None)


async def test_refusals_are_counted_by_rule(make_request: RequestMaker, path: Path) -> None:
    refusals = Refusals()
    looking = Answering(lambda _: Refusal("nudity"))
    moderator = Moderator([Blocklist(path), looking], refusals)
    await moderator.check_prompt(make_request(), ANN)
    with pytest.raises(ContentRefused):
        await moderator.check_prompt(make_request(prompt="gore"), ANN)
    with pytest.raises(ContentRefused):
        await moderator.check_prompt(make_request(), MALLORY)
    with pytest.raises(ContentRefused, match="'nudity'"):
        await moderator.check_preview(PREVIEW, make_request(), ANN, may_redo=True)
    assert refusals.counted == [
        ("violence", "prompt"),
        ("banned user", "prompt"),
        ("nudity", "preview"),
    ]


async def test_a_checker_that_hangs_fails_the_request_in_time(
    make_request: RequestMaker, hanging: Hanging
) -> None:
    moderator = Moderator([hanging], Refusals(), time_limit_s=0.05)
    for _ in range(20):  # more than it has threads
        with pytest.raises(ModerationFailed, match="too long"):
            await moderator.check_prompt(make_request(), ANN)
    hanging.released.set()
    await Moderator([hanging], Refusals()).check_prompt(make_request(), ANN)


async def test_no_further_text_is_checked_for_an_answer_that_comes_too_late() -> None:
    asked: list[int] = []
    may_answer = threading.Event()

    def answers() -> Iterator[None]:
        for number in range(3):
            asked.append(number)
            may_answer.wait()
            yield None

    moderator = Moderator([ByUser()], Refusals(), time_limit_s=0.05)
    with pytest.raises(ModerationFailed, match="too long"):
        await moderator._answer(answers())
    may_answer.set()
    moderator._threads.shutdown(wait=True)
    assert asked == [0]


@pytest.mark.parametrize("error", [RuntimeError("gore"), SystemExit(1), StopIteration(), None])
async def test_a_checker_that_fails_refuses_nothing_and_lets_nothing_pass(
    make_request: RequestMaker, error: BaseException | None
) -> None:
    def answer(_seed: int) -> Any:
        if error is None:
            return True  # no Refusal
        raise error

    refusals = Refusals()
    moderator = Moderator([Answering(answer)], refusals)
    with pytest.raises(ModerationFailed, match="the content check failed"):
        await moderator.check_preview(PREVIEW, make_request(), ANN, may_redo=True)
    assert refusals.counted == []


@pytest.mark.parametrize("rule", ["", "x" * 65, "a\nb"])
def test_a_rule_has_a_name_that_can_be_shown(rule: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Refusal(rule)


def test_the_blocklist_is_asked_before_the_checker(
    tmp_path: Path, path: Path, checkpoint: Checkpoint
) -> None:
    settings = Settings(
        data_dir=tmp_path, blocklist=str(path), checker="tests.serve.checkers:ByUser"
    )
    assert [
        type(checker) for checker in load_checkers(settings, served(STABLE_CASCADE, checkpoint))
    ] == [
        Blocklist,
        ByUser,
    ]
    assert load_checkers(Settings(data_dir=tmp_path), served(STABLE_CASCADE, checkpoint)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocklist": "/nowhere/list.txt"}, r"CASCADE_BLOCKLIST: /nowhere/list.txt cannot be"),
        ({"checker": "tests.nowhere:make"}, "CASCADE_CHECKER: .*ModuleNotFoundError"),
        ({"checker": "tests.serve.checkers:nothing"}, "CASCADE_CHECKER: .*AttributeError"),
        ({"checker": "tests.serve.checkers:broken"}, "CASCADE_CHECKER: .*no model file"),
        ({"checker": "tests.serve.checkers:mute"}, "CASCADE_CHECKER: .*no check_prompt"),
        ({"checker": "tests.serve.checkers:looking"}, "set CASCADE_PREVIEWER_PATH"),
    ],
)
def test_a_checker_that_cannot_be_had_is_a_wrong_setting(
    tmp_path: Path, checkpoint: Checkpoint, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        load_checkers(Settings(data_dir=tmp_path, **changes), served(STABLE_CASCADE, checkpoint))


def test_a_checker_of_previews_needs_a_family_with_an_output_to_preview(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    settings = Settings(data_dir=tmp_path, checker="tests.serve.checkers:looking")
    drawable = replace(checkpoint, previewer=tmp_path / "previewer.safetensors")
    with pytest.raises(SettingsInvalid, match="no stage of two_stages has an output"):
        load_checkers(settings, served(TWO_STAGES, drawable))


def test_a_checker_may_look_at_previews_of_a_model_that_has_them(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    settings = Settings(data_dir=tmp_path, checker="tests.serve.checkers:looking")
    with_previewer = replace(checkpoint, previewer=tmp_path / "preview.json")
    moderator = Moderator(
        load_checkers(settings, served(STABLE_CASCADE, with_previewer)), Refusals()
    )
    assert moderator.sees_previews
