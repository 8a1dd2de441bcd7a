# Two images: `operator` (small; holds neither Dask nor Ray) and `runtime` (drivers, schedulers, workers).
#
#   docker build --target operator -t flowcluster/operator .
#   docker build --target runtime  -t flowcluster/runtime .
#
# A change of code rebuilds the last layer alone. pip's settings (PIP_INDEX_URL and the like) can be given
# as build arguments; they are used in stages whose history no image keeps.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS base
# The public base image ships without compiled modules, and no user but root could write them later.
RUN python3 -m compileall -q -x '/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|config-[^/]*)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && useradd --uid 1000 --user-group --create-home --home-dir /home/flow --shell /bin/sh flow
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

FROM base AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
ARG PIP_PROXY
ARG PIP_DEFAULT_TIMEOUT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/build
COPY requirements/build.lock /src/requirements/
RUN /opt/build/bin/pip install --quiet --require-hashes -r /src/requirements/build.lock

FROM build AS operator-packages
RUN python3 -m venv --without-pip /opt/venv
COPY requirements/operator.lock /src/requirements/
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --require-hashes -r /src/requirements/operator.lock

# With pip, so that a flow's own image can add packages to it.
FROM build AS runtime-packages
RUN python3 -m venv /opt/venv
COPY requirements/runtime.lock /src/requirements/
RUN /opt/venv/bin/pip install --quiet --require-hashes -r /src/requirements/runtime.lock

FROM build AS project
RUN python3 -m venv --without-pip /opt/venv
WORKDIR /src
COPY pyproject.toml ./
COPY sdk sdk
COPY operator operator
# The long description is for the package index; without it, editing it rebuilds no image.
RUN touch README.md \
 && /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --prefix /opt/project /dist/*.whl

FROM base AS runtime
COPY --from=runtime-packages /opt/venv /opt/venv
USER 1000:1000
WORKDIR /home/flow
COPY --from=project /opt/project /opt/venv

FROM base AS operator
COPY --from=operator-packages /opt/venv /opt/venv
USER 1000:1000
WORKDIR /home/flow
ENTRYPOINT ["python", "-m", "flowcluster_operator"]
COPY --from=project /opt/project /opt/venv
