"""What benchmarks know of a service's processes: their kinds and their CPU time."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from bench.processes import KINDS, cpu_s, cpu_s_since, kind_of


@pytest.mark.parametrize(
    ("command_line", "kind"),
    [
        ("ray::ServeReplica:cascade:StageC.handle_request", "StageC"),
        ("ray::ServeReplica:cascade:Jobs", "Jobs"),
        ("ray::ServeController.listen_for_change", "controller"),
        ("ray::ProxyActor", "proxy"),
        ("/x/.venv/bin/python -m serve.cli.main up", "command line"),
        ("/x/python -P /x/bench/baseline/service.py null /tmp 80", "command line"),
        ("cascade-fork-server /tmp/ray", "fork server"),
        ("python -u /ray/_private/log_monitor.py --session-dir=/x", "Ray: log monitor"),
        ("python -u /ray/autoscaler/_private/monitor.py", "Ray: autoscaler's monitor"),
        ("/usr/bin/haproxy -f x", "haproxy"),
    ],
)
def test_processes_are_told_by_their_command_lines(command_line: str, kind: str) -> None:
    assert kind_of(command_line) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_processes_that_benchmarks_kill_are_told(kind: str) -> None:
    titles = {"controller": "ray::ServeController", "proxy": "ray::ProxyActor"}
    assert kind_of(titles.get(kind, f"ray::ServeReplica:cascade:{kind}")) == kind


def test_the_cpu_time_of_a_process_holds_that_of_its_ended_children() -> None:
    own = psutil.Process()
    kind = kind_of(" ".join(own.cmdline()))
    before_s, children_s = cpu_s([own]), own.cpu_times().children_user
    work = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    grown_s = own.cpu_times().children_user - children_s
    assert grown_s > 0
    assert cpu_s_since(before_s, [own])[kind] > grown_s / 2
