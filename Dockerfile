# Targets: server (the default), server-gpu, trainer, trainer-gpu; docs/docker.md says more. BuildKit builds what the target needs;
# the legacy builder works as well, and without --target it builds everything.
#
# Behind a proxy: --build-arg HTTPS_PROXY=… and the other predefined ones. With a package index of your own: PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST. They stay in the stages that install, and no image has them.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS base
ENV HOME=/tmp \
    PATH=/opt/headserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# New volumes that are mounted on /models and /runs belong to whom the folders belong to.
RUN groupadd --gid 1000 headserve \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin headserve \
    && install --directory --owner 1000 --group 1000 /models /runs

# An environment without pip: it is the one of the base image that installs into it.
FROM base AS installer
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
# As variables of the environment: the legacy builder does not pass on arguments to the stages below. pip takes empty for unset.
ENV PIP_INDEX_URL=${PIP_INDEX_URL} \
    PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_TRUSTED_HOST=${PIP_TRUSTED_HOST} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PROGRESS_BAR=off \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/headserve
COPY docker/install.sh ./

# headserve alone: when it changes, the layers with what it needs do not.
FROM installer AS package
COPY requirements/build.txt ./
RUN python -m venv tools && tools/bin/pip install --require-hashes --requirement build.txt
COPY pyproject.toml README.md LICENSE ./
COPY heads heads
COPY service service
RUN tools/bin/pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && pip --python /opt/headserve/bin/python install --no-deps dist/*.whl
COPY docker/healthcheck.py /opt/headserve/

FROM base AS serving
LABEL org.opencontainers.image.title="headserve" \
      org.opencontainers.image.description="Serves TensorFlow SavedModels with several heads over HTTP" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV HEADSERVE_HOST=0.0.0.0 \
    HEADSERVE_MODELS=/models
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-I", "/opt/headserve/healthcheck.py"]
ENTRYPOINT ["headserve"]
CMD ["serve"]

FROM installer AS server-libraries
COPY requirements/server.txt ./
RUN ./install.sh server.txt

FROM serving AS server
COPY --from=server-libraries /opt/headserve /opt/headserve
COPY --from=package /opt/headserve /opt/headserve
USER 1000:1000

FROM base AS training
LABEL org.opencontainers.image.title="headserve trainer" \
      org.opencontainers.image.description="Trains networks with several heads and exports them for headserve" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY examples /examples
ENTRYPOINT ["headserve"]
CMD ["train", "/examples/movies.toml", "--models", "/models", "--runs", "/runs"]

FROM installer AS trainer-libraries
COPY requirements/trainer.txt ./
RUN ./install.sh trainer.txt

FROM training AS trainer
COPY --from=trainer-libraries /opt/headserve /opt/headserve
COPY --from=package /opt/headserve /opt/headserve
USER 1000:1000

# CUDA comes from PyPI, and the driver from the host through the NVIDIA container toolkit.
FROM installer AS server-gpu-libraries
COPY requirements/server-gpu.txt ./
RUN ./install.sh server-gpu.txt

FROM serving AS server-gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=server-gpu-libraries /opt/headserve /opt/headserve
COPY --from=package /opt/headserve /opt/headserve
USER 1000:1000

FROM installer AS trainer-gpu-libraries
COPY requirements/trainer-gpu.txt ./
RUN ./install.sh trainer-gpu.txt

FROM training AS trainer-gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=trainer-gpu-libraries /opt/headserve /opt/headserve
COPY --from=package /opt/headserve /opt/headserve
USER 1000:1000

# What is built without --target.
FROM server AS default
