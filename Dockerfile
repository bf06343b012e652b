# Targets: server (the default), server-gpu, trainer, trainer-gpu; docs/docker.md describes them. BuildKit builds only the stages that
# a target needs. The legacy builder also works; without --target it builds all stages.
#
# Behind a proxy: --build-arg HTTPS_PROXY=… and the other predefined arguments. With a package index of your own: PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST. Only the stages that install packages use these values; no image contains them.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS base
ENV HOME=/tmp \
    PATH=/opt/headserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A new volume on /models, /runs or /cache gets the owner of the folder in the image.
RUN groupadd --gid 1000 headserve \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin headserve \
    && install --directory --owner 1000 --group 1000 /models /runs /cache

# The environment has no pip of its own: the base image's pip installs into it.
FROM base AS installer
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
# Environment variables, because the legacy builder does not pass arguments on to later stages. pip treats an empty value as unset.
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

# headserve alone, so that a change of it does not rebuild the layers with its dependencies.
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

# CUDA comes from PyPI; the driver comes from the host through the NVIDIA container toolkit.
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

# The last stage is the one that is built without --target.
FROM server AS default
