"""The devices that TensorFlow computes on: which exist, and how much of their memory it may use."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any

from service.errors import ConfigError, ModelLoadError
from service.logs import without_lines
from service.messages import listed
from service.models.options import ComputeOptions

CPU, GPU = "CPU", "GPU"

XLA_FLAGS, XLA_ON_CPU = "TF_XLA_FLAGS", "--tf_xla_cpu_global_jit"
"""The environment variable of XLA's flags, and the flag without which a session compiles for GPUs only."""


def configure(memory_growth: bool = True, gpu_memory_limit_mb: int | None = None, require_gpu: bool = False) -> None:
    """Configure TensorFlow's devices; must be called before the first model is loaded.

    With `memory_growth`, GPU memory is allocated as it is needed. A `gpu_memory_limit_mb` for each GPU, in MiB, is reserved
    immediately instead. Raises ConfigError if there is no GPU and one is required, or TensorFlow is already initialized.
    """
    tf = _tensorflow()
    if require_gpu:
        check_gpu()
    try:
        for gpu in tf.config.list_physical_devices(GPU):
            if gpu_memory_limit_mb is not None:
                limit = tf.config.LogicalDeviceConfiguration(memory_limit=gpu_memory_limit_mb)
                tf.config.set_logical_device_configuration(gpu, [limit])
            else:
                tf.config.experimental.set_memory_growth(gpu, memory_growth)
    except RuntimeError as error:
        raise ConfigError(f"Devices must be configured before the first model is loaded: {error}") from error


def check_gpu() -> None:
    """Raise ConfigError if TensorFlow finds no GPU."""
    if not _tensorflow().config.list_physical_devices(GPU):
        raise ConfigError(
            "A GPU is required (HEADSERVE_REQUIRE_GPU), and TensorFlow finds none. Check the driver with nvidia-smi, that the "
            "container runs with --gpus all, and that 'headserve[gpu]' is installed."
        )


def _tensorflow() -> Any:
    # TensorFlow 2.21 writes information lines before it reads TF_CPP_MIN_LOG_LEVEL; no other variable switches them off.
    quiet = "tensorflow" not in sys.modules and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") != "0"
    with without_lines("WARNING: All log messages before absl::InitializeLog()", "I0000 ") if quiet else nullcontext():
        import tensorflow as tf
    return tf


def enable_xla_on_cpu() -> None:
    """Let XLA compile for CPUs in sessions that switch it on; call it before the first run: the flag is read once."""
    flags = os.environ.get(XLA_FLAGS, "")
    if XLA_ON_CPU not in flags:
        os.environ[XLA_FLAGS] = f"{flags} {XLA_ON_CPU}".strip()


def session_config(compute: ComputeOptions) -> Any:
    """Return the `ConfigProto` of a session, with the devices set by `configure` and the options of a model.

    XLA compiles what it can. Mixed precision uses 16 bits for the operations on TensorFlow's list of safe ones: float16 on a
    GPU, bfloat16 on a CPU that has it.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

    config = config_pb2.ConfigProto(allow_soft_placement=True)
    for cpu in tf.config.list_physical_devices(CPU):
        config.device_count[CPU] = len(tf.config.get_logical_device_configuration(cpu) or (cpu,))
    for gpu in tf.config.list_physical_devices(GPU):
        options = config.gpu_options
        limits = [logical.memory_limit for logical in tf.config.get_logical_device_configuration(gpu) or ()]
        if limits:
            options.experimental.virtual_devices.add(memory_limit_mb=limits)
        else:
            options.allow_growth = bool(tf.config.experimental.get_memory_growth(gpu))
    graph = config.graph_options
    if compute.jit_compile:
        graph.optimizer_options.global_jit_level = config_pb2.OptimizerOptions.ON_1
    if compute.mixed_precision:
        graph.rewrite_options.auto_mixed_precision = rewriter_config_pb2.RewriterConfig.ON
        graph.rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    return config


def runtime() -> dict[str, Any]:
    """Return TensorFlow's version and the devices that it computes on."""
    import tensorflow as tf

    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    return {"tensorflow_version": tf.__version__, "devices": devices}


def memory() -> dict[str, dict[str, int]]:
    """Return for each GPU the bytes of memory that TensorFlow uses, `current` and `peak`; none without statistics."""
    import tensorflow as tf

    used = {}
    for device in tf.config.list_logical_devices(GPU):
        name = device.name.removeprefix("/device:")
        with suppress(ValueError, tf.errors.OpError):  # the allocator keeps no statistics
            used[name] = tf.config.experimental.get_memory_info(name)
    return used


def replica_devices(wanted: Sequence[str] | None) -> tuple[str | None, ...]:
    """Return the device of each replica: those wanted, else every GPU; None lets TensorFlow choose. Raises ModelLoadError."""
    import tensorflow as tf

    existing = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if wanted is None:
        gpus = [name for name in existing if name.startswith(GPU)]
        return tuple(gpus) if len(gpus) > 1 else (None,)
    for name in wanted:
        if name not in existing:
            raise ModelLoadError(f"There is no device {name!r}; there are {listed(existing)}.")
    return tuple(wanted)
