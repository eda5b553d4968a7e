"""How ``make test`` shares the tests out among its processes, and in which order they run."""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED_CLUSTER: Final = "shared cluster"
OWN_CLUSTERS: Final = "own clusters"
_OWN = (
    "tests/ray/own_clusters/",
    "tests/ray/test_proxies.py::TestHAProxy",
    "tests/serve/cli/test_demo.py",
)
_REPLACING = (
    "tests/ray/test_fleet.py",
    "tests/ray/checkers/",
    "tests/ray/test_chaos.py::test_under_random_kills_nothing_is_lost_on_postgresql_either",
    "tests/ray/with_models/",
)
"""On the shared cluster, tests that replace the service: last, as the others share one."""
_LONG = ("tests/install/", "tests/wire/bot/")
"""Modules that take long; at the end, one of them would keep the other processes without work."""


class Sharing(LoadScopeScheduling):
    """A module stays in one process, and so do clusters.

    xdist's own groups (3.8) do nothing with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Return what a test runs together with: its module, or all tests on clusters like its own."""
    if nodeid.startswith(_OWN):
        return OWN_CLUSTERS
    return SHARED_CLUSTER if nodeid.startswith("tests/ray/") else nodeid.split("::")[0]


def put_in_order(items: list[pytest.Item]) -> None:
    """Begin with the groups that take longest; the others run beside them."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    if group(nodeid) == SHARED_CLUSTER:
        replacing = (number for number, name in enumerate(_REPLACING, 1) if nodeid.startswith(name))
        return next(replacing, 0)
    if group(nodeid) == OWN_CLUSTERS:
        return len(_REPLACING) + 1
    return len(_REPLACING) + (2 if nodeid.startswith(_LONG) else 3)
