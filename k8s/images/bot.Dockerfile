# The Discord bot: no torch, no Ray, no model. From the repository's root:
#
#   docker build -f k8s/images/bot.Dockerfile -t cascade-bot:0.1.0 .

# A minor version: its tag moves on to each release of Python and Debian with fixes.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/cascade
ENV PATH=/opt/cascade/bin:$PATH
WORKDIR /src
COPY constraints.txt k8s/images/bot-requirements.txt ./
RUN pip install --constraint constraints.txt --requirement bot-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY cascade_core/ cascade_core/
COPY serve/ serve/
COPY bot/ bot/
# Without what pyproject.toml names for the service; bot-requirements.txt is what the bot needs.
RUN pip install --no-deps .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --create-home cascade
COPY --from=build /opt/cascade /opt/cascade
ENV PATH=/opt/cascade/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["cascade"]
CMD ["bot", "run"]
