# One image for web, workers, schedulers and Flower.
# deploy/pin_images.sh asks the registry for the newest digest of the tag.
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
FROM ${BASE} AS build
COPY requirements.lock .
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

FROM ${BASE}
RUN groupadd --gid 10001 notifications \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin notifications \
    && install --directory --owner notifications --mode 0700 /var/lib/notifications
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY config ./config
COPY notifications ./notifications
COPY scheduling ./scheduling
COPY templates_engine ./templates_engine
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VAR_DIR=/var/lib/notifications \
    GRANIAN_HOST=0.0.0.0 \
    GRANIAN_BLOCKING_THREADS=8 \
    FLOWER_ADDRESS=0.0.0.0
USER notifications
EXPOSE 8000 5555
CMD ["granian", "--interface", "wsgi", "config.wsgi:application"]
