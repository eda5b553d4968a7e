"""The name by which Ray Serve finds our middleware; reading it loads no web framework."""

from __future__ import annotations

CALLBACK_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "serve.proxies.ray_proxy.middlewares"
