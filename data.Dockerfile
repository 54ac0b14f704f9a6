# The image that takes samples: `aegis data` and PostgreSQL's own pg_dump, and nothing else.
#
#   docker build --file data.Dockerfile --tag aegis-data .
#
# Python's and PostgreSQL's image are to be of one release of Debian: pg_dump comes with the libraries
# that it had there. pg_dump refuses a server that is newer than itself.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=${BASE_IMAGE}
ARG POSTGRES_IMAGE=postgres:18-bookworm

FROM ${POSTGRES_IMAGE} AS postgres
USER 0
# What the loader finds for it there, but for the C library, which is the other image's.
RUN ["sh", "-euc", "\
     mkdir -p /opt/postgresql/bin /opt/postgresql/lib; \
     cp /usr/lib/postgresql/*/bin/pg_dump /opt/postgresql/bin/; \
     LD_TRACE_LOADED_OBJECTS=1 /opt/postgresql/bin/pg_dump | while read -r name _ path _; do \
       case \"$name\" in \
         ld-*|libc.so*|libm.so*|libdl.so*|libpthread.so*|libresolv.so*|librt.so*|linux-vdso*|/*) ;; \
         *) cp -L \"$path\" \"/opt/postgresql/lib/$name\" ;; \
       esac; \
     done"]

FROM ${BASE_IMAGE} AS build
WORKDIR /opt/aegis
COPY requirements-data.txt ./
RUN ["python3", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", \
     "--no-input", "--root-user-action=ignore", "--require-hashes", "--only-binary=:all:", \
     "--target", "lib", "-r", "requirements-data.txt"]
COPY aegis_deploy ./aegis_deploy/
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "aegis_deploy"]
RUN ["python3", "-c", "import pathlib as p; \
     [f.chmod(0o755 if f.is_dir() else 0o644) for f in (p.Path('aegis_deploy'), *p.Path('aegis_deploy').rglob('*'))]"]

FROM ${RUNTIME_IMAGE}
WORKDIR /opt/aegis
ENV PYTHONPATH=/opt/aegis:/opt/aegis/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1 \
    LD_LIBRARY_PATH=/opt/postgresql/lib \
    PATH=/opt/postgresql/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin
COPY --from=postgres /opt/postgresql /opt/postgresql/
COPY --from=build /opt/aegis/lib ./lib
COPY --from=build /opt/aegis/aegis_deploy ./aegis_deploy
USER 65532:65532
# Fails the build, not the run, when the images do not fit.
RUN ["pg_dump", "--version"]
RUN ["python3", "-c", "import boto3, faker, psycopg, pydantic, ssl, yaml, aegis_deploy.cli.commands.data_sample"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-c", "import sys; from aegis_deploy.cli.main import main; sys.exit(main())"]
LABEL org.opencontainers.image.title="aegis-data" \
      org.opencontainers.image.description="Takes masked samples of a PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
