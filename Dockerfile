# The aegis-api image. Builds with BuildKit and with the classic builder.
#
#   docker build --build-arg VERSION=0.1.0 --build-arg GIT_SHA="$(git rev-parse HEAD)" -t aegis .
#
# BASE_IMAGE installs (it needs pip), RUNTIME_IMAGE runs (python alone will do; neither needs a
# shell). Both must hold the same minor version of CPython, for compiled packages; the build fails
# if they do not.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=${BASE_IMAGE}

FROM ${BASE_IMAGE} AS build
WORKDIR /opt/aegis
# Packages go into a directory of their own and not into a virtual environment: that one would
# hold the path of its interpreter, which differs between python images.
COPY app/requirements.txt ./
RUN ["python3", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", \
     "--no-input", "--root-user-action=ignore", "--require-hashes", "--only-binary=:all:", \
     "--target", "lib", "-r", "requirements.txt"]
COPY app ./app/
# Compiled here, since nothing can be written where it runs. Modes are set since a checkout made
# under a strict umask would give files that the service's user cannot read.
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "app"]
RUN ["python3", "-c", "import pathlib as p; \
     [f.chmod(0o755 if f.is_dir() else 0o644) for f in (p.Path('app'), *p.Path('app').rglob('*'))]"]

FROM ${RUNTIME_IMAGE}
WORKDIR /opt/aegis
ENV PYTHONPATH=/opt/aegis:/opt/aegis/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/aegis/lib ./lib
COPY --from=build /opt/aegis/app ./app
# Fails the build, not the rollout, when the two images' interpreters do not fit. Slim images have
# Python's own modules as source only, and a pod can keep nothing: each would compile them at its
# start. So what the service imports of them is compiled here, and nothing else.
RUN ["python3", "-c", "import sys; sys.dont_write_bytecode = False; \
     import app.logs, app.server, app.service, app.migrate, app.database.records, app.database.watch"]
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "app"]
# Last, so that a new version changes no layer above.
ARG VERSION=unknown
ARG GIT_SHA=unknown
ENV AEGIS_VERSION=${VERSION} \
    AEGIS_GIT_SHA=${GIT_SHA}
LABEL org.opencontainers.image.title="aegis-api" \
      org.opencontainers.image.description="The service that aegis deploys" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_SHA}"
