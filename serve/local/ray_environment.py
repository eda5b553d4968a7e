"""The environment of this machine's Ray cluster: variables, limits and private files."""

from __future__ import annotations

import os
from pathlib import Path

from serve.local import open_files, ray_access
from serve.local.private_files import keep_files_private
from serve.proxies import haproxy
from serve.proxies.callback import CALLBACK, CALLBACK_VARIABLE
from serve.settings import Settings

RAY_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead proxy is replaced after three checks; with Ray's 10 s no request is answered for 20 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    # Replicas and handles hand their counters on ten times a second by default: much of what idle
    # ones do.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    # The controller compares wanted and running replicas ten times a second by default: a third of
    # what an idle service does.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    haproxy.BINARY_VARIABLE: str(haproxy.COMMAND),
    CALLBACK_VARIABLE: CALLBACK,
}
"""Environment of Ray's processes; variables that are set override it."""


def prepare(settings: Settings) -> Path:
    """Set up this process for a Ray cluster of its own; the processes that it starts inherit that.

    Returns:
        Ray's temp folder.

    Raises:
        SettingsInvalid: as :func:`serve.local.ray_access.restrict`.
    """
    keep_files_private()
    open_files.raise_limit()
    temp_dir = ray_access.restrict(settings.data_dir)
    os.environ.update(RAY_DEFAULTS | haproxy.files_in(temp_dir.parent) | os.environ)
    return temp_dir
