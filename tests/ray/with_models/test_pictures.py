"""The main job on real Ray: a prompt becomes a picture, and Vary details starts at Stage B."""

from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
from PIL import Image
from prometheus_client.samples import Sample
from ray import serve as ray_serve

from cascade_core.handoff import StageCLatent
from cascade_core.images.image_files import read_info
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from serve.jobs.dispatch.stage_client import StageClient
from serve.local.running import APP_NAME, Running
from serve.messages import StageMessage
from serve.telemetry import metric_definitions as m
from serve.telemetry.dashboard_panels import GPU_USE, RAY_METRICS
from tests.collector import Collector
from tests.limits import HANG_S
from tests.metrics import wait_for_samples
from tests.ray.client import ServiceClient, check_same_picture, pixels, replica_process

PROMPT = "a large red circle in the center on a white background"
LONG_IN_C = {"width": 512, "height": 512, "steps": 100, "decoder_steps": 2}


def test_a_prompt_becomes_the_picture_of_the_in_process_pipeline(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    job = service.finished(service.create(prompt=PROMPT, seed=7)["id"])
    assert job["state"] == "succeeded", job["error"]
    expected = pipeline.run(GenerationRequest.from_dict(job["request"])).pixels_hwc
    np.testing.assert_array_equal(pixels(service, job["images"][0]["id"]), expected)
    assert all(job["cost"][name] > 0 for name in ("c_s", "b_s", "a_s"))


def test_vary_details_keeps_the_latent_and_never_runs_stage_c(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    first = service.finished(service.create(prompt=PROMPT, seed=8)["id"])
    latent_id = first["images"][0]["latent_id"]
    created = service.create(kind="vary_details", latent_id=latent_id, decoder_seed=99)
    events = list(service.events(created["id"]))
    varied = events[-1].data["job"]
    assert varied["state"] == "succeeded", varied["error"]
    assert varied["images"][0]["latent_id"] == latent_id
    assert varied["cost"]["c_s"] == 0
    assert {event.data["stage"] for event in events if event.type == "progress"} <= {"b", "a"}
    stored = StageCLatent.decode(service.http.get(f"/v1/latents/{latent_id}").content)
    request = GenerationRequest.from_dict(varied["request"])
    expected = pipeline.run(request, stored).pixels_hwc
    np.testing.assert_array_equal(pixels(service, varied["images"][0]["id"]), expected)


def test_variations_of_mixed_strengths_equal_the_in_process_pipeline(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    first = service.finished(service.create(prompt=PROMPT, seed=9)["id"])
    latent_id = first["images"][0]["latent_id"]
    stored = StageCLatent.decode(service.http.get(f"/v1/latents/{latent_id}").content)
    created = [
        service.create(kind="vary", latent_id=latent_id, seed=5, **more)
        for more in ({"strength": 0}, {"strength": "subtle"}, {"strength": 1, "prompt": "a ring"})
    ]
    for job in [service.finished(job["id"]) for job in created]:
        assert job["state"] == "succeeded", job["error"]
        [image] = job["images"]
        assert image["latent_id"] != latent_id
        request = GenerationRequest.from_dict(job["request"])
        expected = pipeline.run(request, stored).pixels_hwc
        check_same_picture(pixels(service, image["id"]), expected)


def test_each_picture_of_a_series_is_that_of_its_variation_alone(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    first = service.finished(service.create(prompt=PROMPT, seed=9)["id"])
    latent_id = first["images"][0]["latent_id"]
    stored = StageCLatent.decode(service.http.get(f"/v1/latents/{latent_id}").content)
    variants = [{"colour": colour} for colour in ("red", "green", "blue")]
    given = {"template": "a large {colour} circle", "hero": latent_id, "seed": 5}
    created = service.create(kind="series", variants=variants, decoder_seed=6, **given)
    series = service.finished(created["id"])
    assert series["state"] == "succeeded", series["error"]
    for image, values in zip(series["images"], variants, strict=True):
        prompt = f"a large {values['colour']} circle"
        seeds = {"seed": 5, "decoder_seed": 6}
        alone = service.create(kind="vary", latent_id=latent_id, prompt=prompt, **seeds)
        request = GenerationRequest.from_dict(service.finished(alone["id"])["request"])
        expected = pipeline.run(request, stored).pixels_hwc
        check_same_picture(pixels(service, image["id"]), expected)
        info = read_info(service.http.get(f"/v1/images/{image['id']}").content)
        assert info is not None
        assert info["request"]["prompt"] == prompt


def test_a_series_that_makes_its_hero_equals_its_pictures_made_one_by_one(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    variants = [{"colour": colour} for colour in ("red", "green", "blue")]
    seeds = {"seed": 5, "decoder_seed": 6}
    created = service.create(kind="series", template="a {colour} star", variants=variants, **seeds)
    series = service.finished(created["id"])
    assert series["state"] == "succeeded", series["error"]
    hero, *others = series["images"]
    stored = StageCLatent.decode(service.http.get(f"/v1/latents/{hero['latent_id']}").content)
    assert hero["derived_from"] is None
    source = {"operation": "vary", "latent_id": hero["latent_id"], "strength": 0.7}
    for image, values in zip(series["images"], variants, strict=True):
        start = {"kind": "vary", "latent_id": hero["latent_id"]} if image in others else {}
        alone = service.create(**start, prompt=f"a {values['colour']} star", **seeds)
        request = GenerationRequest.from_dict(service.finished(alone["id"])["request"])
        expected = pipeline.run(request, stored if start else None).pixels_hwc
        check_same_picture(pixels(service, image["id"]), expected)
        info = read_info(service.http.get(f"/v1/images/{image['id']}").content)
        assert info is not None
        assert info.get("derived_from") == (source if start else None)


def test_a_decoding_of_another_size_shares_the_latent_and_says_if_it_is_too_large(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    first = service.finished(service.create(prompt=PROMPT, seed=9)["id"])
    latent_id = first["images"][0]["latent_id"]
    stored = StageCLatent.decode(service.http.get(f"/v1/latents/{latent_id}").content)
    for side, warnings in ((384, 0), (512, 1)):
        size = {"width": side, "height": side}
        created = service.create(kind="decode", latent_id=latent_id, decoder_steps=4, **size)
        job = service.finished(created["id"])
        assert job["state"] == "succeeded", job["error"]
        assert len(job["warnings"]) == warnings
        assert job["images"][0]["latent_id"] == latent_id
        expected = pipeline.run(GenerationRequest.from_dict(job["request"]), stored).pixels_hwc
        check_same_picture(pixels(service, job["images"][0]["id"]), expected)


def test_chosen_drafts_become_the_pictures_that_are_made_at_once(service: ServiceClient) -> None:
    body = {"prompt": "a star", "n": 3, "seed": 21, "steps": 6}
    job_id = service.create(stop_after="c", **body)["id"]
    for one in service.until(job_id, "waiting").data["job"]["compositions"]:
        assert service.http.get(one["preview_url"]).headers["content-type"] == "image/webp"
    choice = {"indices": [2, 0], "decoder_steps": 3}
    assert service.http.post(f"/v1/jobs/{job_id}/continue", json=choice).status_code == 202
    drafted = service.finished(job_id)["images"]
    at_once = service.finished(service.create(decoder_steps=3, **body)["id"])["images"]
    assert [image["index"] for image in drafted] == [0, 2]
    for image in drafted:
        same = pixels(service, at_once[image["index"]]["id"])
        check_same_picture(pixels(service, image["id"]), same)


def test_a_draft_is_finished_at_another_size(service: ServiceClient) -> None:
    job_id = service.create(prompt="a star", stop_after="c", seed=5, steps=6)["id"]
    latent_id = service.until(job_id, "waiting").data["job"]["compositions"][0]["latent_id"]
    larger = {"width": 384, "height": 384}
    choice = {"indices": [0], **larger}
    assert service.http.post(f"/v1/jobs/{job_id}/continue", json=choice).status_code == 202
    [image] = service.finished(job_id)["images"]
    assert (image["width"], image["height"]) == (384, 384)
    same = {"kind": "decode", "latent_id": latent_id, "decoder_seed": 5, **larger}
    [decoded] = service.finished(service.create(**same)["id"])["images"]
    check_same_picture(pixels(service, image["id"]), pixels(service, decoded["id"]))


def test_each_image_of_a_job_is_the_picture_of_its_own_seed(service: ServiceClient) -> None:
    several = service.finished(service.create(prompt=PROMPT, seed=20, n=3, steps=6)["id"])
    assert [image["seed"] for image in several["images"]] == [20, 21, 22]
    alone = service.finished(service.create(prompt=PROMPT, seed=21, steps=6)["id"])
    check_same_picture(
        pixels(service, several["images"][1]["id"]), pixels(service, alone["images"][0]["id"])
    )


def test_a_picture_whose_stage_c_is_killed_meanwhile_is_the_undisturbed_one(
    service: ServiceClient,
) -> None:
    victim = replica_process("StageC")
    job_id = service.create(prompt=PROMPT, seed=30, **LONG_IN_C)["id"]
    for event in service.events(job_id):
        if event.type == "progress" and event.data["step"] >= LONG_IN_C["steps"] // 5:
            break
    victim.kill()
    disturbed = service.finished(job_id)
    assert disturbed["state"] == "succeeded", disturbed["error"]
    progress = [event.data for event in service.events(job_id) if event.type == "progress"]
    steps = [data["step"] for data in progress if data["stage"] == "c"]
    assert steps != sorted(steps)  # Stage C began again
    undisturbed = service.finished(service.create(prompt=PROMPT, seed=30, **LONG_IN_C)["id"])
    check_same_picture(
        pixels(service, disturbed["images"][0]["id"]),
        pixels(service, undisturbed["images"][0]["id"]),
    )


def test_a_cancelled_job_leaves_no_image_in_work(service: ServiceClient) -> None:
    # Once it has made a picture, the replica can tell the seconds of its open work.
    service.finished(service.create(prompt=PROMPT, seed=31, steps=2)["id"])
    stage_c = ray_serve.get_deployment_handle("StageC", APP_NAME)
    job_id = service.create(prompt=PROMPT, seed=31, **LONG_IN_C)["id"]
    service.until(job_id, "progress", "c")
    assert stage_c.record_autoscaling_stats.remote().result()["queued_s"] > 0
    service.http.delete(f"/v1/jobs/{job_id}")
    for _ in range(600):
        stats = stage_c.record_autoscaling_stats.remote().result()
        in_work = {name: stats[name] for name in ("rows_running", "rows_waiting", "queued_s")}
        if not any(in_work.values()):
            break
        threading.Event().wait(0.1)  # it leaves within two steps
    assert in_work == {"rows_running": 0, "rows_waiting": 0, "queued_s": 0}
    assert service.job(job_id)["state"] == "cancelled"


def test_the_png_tells_how_it_was_made(service: ServiceClient) -> None:
    job = service.finished(service.create(prompt=PROMPT, seed=5, steps=4)["id"])
    image = job["images"][0]
    data = service.http.get(f"/v1/images/{image['id']}").content
    info = read_info(data)
    assert info is not None
    assert (info["image_id"], info["latent_id"]) == (image["id"], image["latent_id"])
    assert info["request"]["seed"] == 5
    assert "Steps: 4" in Image.open(BytesIO(data)).info["parameters"]


def test_progress_names_stage_and_step_and_shows_previews(service: ServiceClient) -> None:
    job = service.create(prompt=PROMPT, seed=6, steps=40, decoder_steps=20)
    events = list(service.events(job["id"]))
    assert events[0].type == "queued"
    assert events[-1].type == "succeeded"
    progress = [event.data for event in events if event.type == "progress"]
    assert {"c", "b"} <= {data["stage"] for data in progress}
    previews = [data["preview_url"] for data in progress if data.get("preview_url")]
    assert previews
    shown = Image.open(BytesIO(service.http.get(previews[0]).content))
    assert shown.format == "WEBP"


async def test_a_stored_latent_is_drawn_small_for_checkers(
    service: ServiceClient,
) -> None:
    job = service.finished(service.create(prompt=PROMPT, seed=3)["id"])
    stored = service.http.get(f"/v1/latents/{job['images'][0]['latent_id']}").content
    handle = ray_serve.get_deployment_handle("StageC", APP_NAME)

    def ignore(message: StageMessage) -> None:
        return None

    drawn = await StageClient("c", handle, method="preview").call(stored, on_message=ignore)
    picture = Image.open(BytesIO(drawn.data)).convert("RGB")
    middle, corner = picture.getpixel((96, 96)), picture.getpixel((4, 4))
    assert isinstance(middle, tuple)
    assert isinstance(corner, tuple)
    assert middle[0] - middle[1] > corner[0] - corner[1] + 50  # red stands in the middle


def test_the_service_is_ready_and_describes_itself(service: ServiceClient) -> None:
    assert service.http.get("/readyz").status_code == 200
    assert service.http.get("/healthz").status_code == 200
    assert service.http.get("/v1/models").json()["data"][0]["id"] == "demo"
    assert "/v1/jobs" in service.http.get("/openapi.json").json()["paths"]


def test_metrics_count_what_was_served(running: Running, service: ServiceClient) -> None:
    service.finished(service.create(prompt=PROMPT, seed=1, steps=2)["id"])
    # Nothing failed, no checker refused or rejected anything, there is no GPU.
    checked = (m.REFUSALS, m.REJECTIONS)
    unseen = (m.STAGE_ERRORS, m.CALL_FAILURES, *checked, m.STAGE_GPU_MEMORY, GPU_USE)
    shown = (*m.METRICS, *RAY_METRICS)
    expected = {
        (name, stage)
        for metric in shown
        if metric not in unseen
        for name in metric.series
        for stage in ("cba" if "stage" in metric.labels else ("",))
    }
    by_series = {series: metric for metric in shown for series in metric.series}

    def are_all(samples: list[Sample]) -> bool:
        return expected <= {(sample.name, sample.labels.get("stage", "")) for sample in samples}

    ours = wait_for_samples(running, by_series, are_all)
    assert all(set(by_series[sample.name].labels) <= sample.labels.keys() for sample in ours)
    totals = {name: sum(s.value for s in ours if s.name == name) for name in by_series}
    for metric in (m.JOBS, m.STAGE_BUSY, m.HANDOFF_BYTES):
        assert totals[metric.series[0]] > 0
    for metric in (m.STAGE_SERVICE, m.QUEUE_WAIT, m.JOB_LATENCY):
        assert totals[metric.series[1]] >= 1
        assert totals[metric.series[2]] > 0


def test_a_trace_goes_from_the_request_through_the_job_to_every_stage(
    service: ServiceClient, collector: Collector
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"prompt": PROMPT, "seed": 1, "steps": 2}
    job = service.http.post("/v1/jobs", json=body, headers=headers).json()
    service.finished(job["id"])
    missing = {
        ("cascade-gateway", "POST /v1/jobs"),
        ("cascade-jobs", "job"),
        *(("cascade-jobs", f"stage {stage}") for stage in "cba"),
        *((f"cascade-stage-{stage}", f"replica of stage {stage}") for stage in "cba"),
    }
    while missing:  # each process sends every few seconds
        process, span = collector.spans.get(timeout=HANG_S)
        if span.trace_id.hex() == trace:
            missing.discard((process, span.name))


def test_an_upload_starts_the_encoder_and_becomes_the_picture_of_the_in_process_pipeline(
    service: ServiceClient, pipeline: CascadePipeline
) -> None:
    """The encoder's deployment has no replica until the first upload is used."""
    colours = np.zeros((256, 256, 3), np.uint8)
    colours[64:192, 64:192] = (220, 30, 30)
    upload = StoredUpload.of(colours)
    sent = service.http.post("/v1/uploads", files={"file": upload.data}).json()
    asked = {"kind": "image_to_image", "image": sent["id"], "prompt": PROMPT, "strength": 0.5}

    job = service.finished(service.create(**asked, seed=7, n=2)["id"])

    assert job["state"] == "succeeded", job["error"]
    assert all(job["cost"][name] > 0 for name in ("e_s", "c_s", "b_s", "a_s"))
    request = GenerationRequest.from_dict(job["request"])
    for index, image in enumerate(job["images"]):
        expected = pipeline.run(request.for_image(index), upload).pixels_hwc
        check_same_picture(pixels(service, image["id"]), expected)
    started = service.create(**asked | {"image": job["images"][0]["id"]}, seed=8)
    again = service.finished(started["id"])
    assert again["state"] == "succeeded", again["error"]
    assert again["cost"].get("e_s", 0) == 0
    assert again["request"]["latent_id"] == job["images"][0]["latent_id"]
    assert service.http.delete(f"/v1/uploads/{sent['id']}").headers["x-dependant-count"] == "3"
    gone = service.http.post("/v1/jobs", json=asked)
    assert gone.status_code == 410
