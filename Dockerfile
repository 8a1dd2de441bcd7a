# Two images: `operator` (small; holds neither Dask nor Ray) and `runtime` (drivers, schedulers, workers).
#
#   docker build --target operator -t flowcluster/operator .
#   docker build --target runtime  -t flowcluster/runtime .
#
# A change of code rebuilds the last layer alone. Settings for pip, such as a private index, come as a secret,
# which no layer and no history keeps: --secret id=pip,src=$HOME/.config/pip/pip.conf. So do the certificates of a private
# authority: --secret id=cert,src=FILE, and `cert = /run/secrets/cert` in the settings.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS base
# The public base image ships without compiled modules, and no user but root could write them later. A cluster can run
# the image as any user, and that user must be able to enter the working directory. On Debian 13, useradd creates home
# directories that only their owner can enter.
RUN python3 -m compileall -q -x '/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|config-[^/]*)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && useradd --uid 1000 --user-group --create-home --home-dir /home/flow --shell /bin/sh flow \
 && chmod 755 /home/flow
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# The project as a tree to lay over /opt/venv: its modules, compiled, and its commands.
FROM base AS project
RUN python3 -m venv /opt/venv
COPY requirements/build.lock /src/
RUN --mount=type=secret,id=pip --mount=type=secret,id=cert \
    PIP_CONFIG_FILE=/run/secrets/pip pip install --quiet --require-hashes -r /src/build.lock
WORKDIR /src
# The long description is for the package index; without it, editing it rebuilds no image.
RUN touch README.md
COPY pyproject.toml LICENSE ./
COPY sdk sdk
COPY operator operator
RUN pip install --quiet --no-deps --no-index --no-build-isolation --prefix /opt/project .

FROM base AS operator-packages
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements/operator.lock /opt/venv/
RUN --mount=type=secret,id=pip --mount=type=secret,id=cert \
    PIP_CONFIG_FILE=/run/secrets/pip /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet \
      --require-hashes -r /opt/venv/operator.lock

# With pip, so that a flow's own image can add packages to it.
FROM base AS runtime
RUN python3 -m venv /opt/venv
COPY requirements/runtime.lock /opt/venv/
RUN --mount=type=secret,id=pip --mount=type=secret,id=cert \
    PIP_CONFIG_FILE=/run/secrets/pip pip install --quiet --require-hashes -r /opt/venv/runtime.lock
USER 1000:1000
WORKDIR /home/flow
COPY --from=project /opt/project /opt/venv

FROM base AS operator
COPY --from=operator-packages /opt/venv /opt/venv
USER 1000:1000
WORKDIR /home/flow
ENTRYPOINT ["python", "-m", "flowcluster_operator"]
COPY --from=project /opt/project /opt/venv
