"""A service on this machine stops, whatever its Jobs process answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from ray import serve as ray_serve
from ray.exceptions import RayActorError, RayTaskError

from cascade_core.errors import CascadeError, Internal, NotReady
from serve.local.running import Running


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RayActorError(), NotReady),
        (RayTaskError("drain", "a traceback", NotReady("no answer")), NotReady),
        (TimeoutError(), NotReady),
        (RuntimeError("a fault"), Internal),
    ],
)
def test_a_service_whose_drain_fails_is_stopped_and_says_so_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[CascadeError]
) -> None:
    def fail(**_: Any) -> NoReturn:
        raise error

    drain = SimpleNamespace(remote=lambda _timeout_s: SimpleNamespace(result=fail))
    told = SimpleNamespace(results=list)
    handle = SimpleNamespace(broadcast=lambda _method: told, drain=drain)
    stopped: list[Running] = []
    monkeypatch.setattr(ray_serve, "get_deployment_handle", lambda *_: handle)
    monkeypatch.setattr(Running, "stop", lambda running: stopped.append(running))
    unused: Any = None
    running = Running("http://127.0.0.1:1", drain_s=0, fork_server=unused)
    with pytest.raises(CascadeError) as caught:
        running.drain_and_stop()
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
    assert stopped == [running]
