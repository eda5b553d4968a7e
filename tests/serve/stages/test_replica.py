"""One stage in one process, without Ray: what its caller hears, and when it stops working."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image

from cascade_core.errors import NonFiniteLatent, NotReady
from serve.messages import StageMessage
from serve.stages.replica import PROGRESS_INTERVAL_S, UNWATCHED_INTERVAL_S, StageReplica
from tests.cascade_core.toy_stage import Task, ToyRow, ToyStage
from tests.limits import HANG_S
from tests.serve.clock import Clock

MakeReplica = Callable[[ToyStage], StageReplica]


@pytest.fixture
def make_replica() -> Iterator[MakeReplica]:
    made: list[StageReplica] = []

    def make(stage: ToyStage) -> StageReplica:
        made.append(StageReplica(stage, max_rows=1))
        return made[-1]

    yield make
    for replica in made:
        replica.close()


async def messages(replica: StageReplica, task: Task, previews: int = 0) -> list[StageMessage]:
    return [message async for message in replica.run(task, previews)]


async def test_a_run_is_told_from_its_start_to_its_result(make_replica: MakeReplica) -> None:
    told = await messages(make_replica(ToyStage()), Task("one", steps=3))
    assert told[0] == {"type": "started"}
    assert told[-1]["type"] == "done"
    assert told[-1]["result"] == "one after 3"


async def test_steps_that_follow_fast_are_not_all_told(make_replica: MakeReplica) -> None:
    told = await messages(make_replica(ToyStage()), Task("fast", steps=500))
    assert sum(message["type"] == "step" for message in told) < 50


@pytest.mark.parametrize(
    ("interval_s", "told_steps"),
    [(PROGRESS_INTERVAL_S, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (UNWATCHED_INTERVAL_S, [4, 8])],
)
async def test_a_job_that_no_client_watches_tells_a_step_a_second(
    make_replica: MakeReplica,
    monkeypatch: pytest.MonkeyPatch,
    interval_s: float,
    told_steps: list[int],
) -> None:
    clock = Clock()

    def take_time(rows: Sequence[ToyRow]) -> None:
        clock.now_s += 0.3

    monkeypatch.setattr("serve.stages.replica.time", SimpleNamespace(monotonic=clock))
    replica = make_replica(ToyStage(on_step=take_time))
    messages = replica.run(Task("slow", steps=9), interval_s=interval_s)
    told = [message async for message in messages]
    assert [message["step"] for message in told if message["type"] == "step"] == told_steps
    assert (told[0]["type"], told[-1]["type"]) == ("started", "done")


async def test_every_preview_is_told_however_fast_it_comes(make_replica: MakeReplica) -> None:
    told = await messages(make_replica(ToyStage()), Task("fast", steps=200), previews=3)
    shown = [message["preview"] for message in told if message.get("preview")]
    assert len(shown) == 3
    assert {Image.open(BytesIO(data)).format for data in shown if data} == {"WEBP"}


async def test_without_previews_no_picture_is_made(make_replica: MakeReplica) -> None:
    made: list[ToyRow] = []
    replica = make_replica(ToyStage(on_preview=made.append))
    await messages(replica, Task("bare", steps=5), previews=0)
    assert made == []


async def test_closing_the_stream_frees_the_row_before_its_next_step(
    make_replica: MakeReplica,
) -> None:
    may_go_on = threading.Semaphore(1)

    def step_when_allowed(rows: Sequence[ToyRow]) -> None:
        assert may_go_on.acquire(timeout=HANG_S)

    stage = ToyStage(on_step=step_when_allowed)
    replica = make_replica(stage)
    stream = replica.run(Task("dropped", steps=100))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    for _ in range(50):
        may_go_on.release()
    told = await messages(replica, Task("next", steps=2))
    assert told[-1]["result"] == "next after 2"
    assert stage.steps_of("dropped") <= 2


async def test_a_failure_keeps_its_code(make_replica: MakeReplica) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise NonFiniteLatent("no number")

    with pytest.raises(NonFiniteLatent, match="no number"):
        await messages(make_replica(ToyStage(on_step=fail)), Task("bad"))


async def test_a_closed_replica_is_unhealthy_and_refuses_work(make_replica: MakeReplica) -> None:
    replica = make_replica(ToyStage())
    replica.check_health()
    replica.close()
    with pytest.raises(NotReady):
        replica.check_health()
    with pytest.raises(NotReady):
        await messages(replica, Task("late"))


def test_a_failed_warm_up_leaves_no_replica() -> None:
    class Cold(ToyStage):
        def warm_up(self) -> None:
            raise NonFiniteLatent("warm-up failed")

    with pytest.raises(NonFiniteLatent, match="warm-up failed"):
        StageReplica(Cold(), max_rows=1)
