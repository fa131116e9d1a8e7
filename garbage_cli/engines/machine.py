"""What kind of machine this is, as far as it decides which engine and precision is the fastest.

Knows processors. Does not know engines' files or bundles.
"""

import hashlib
import importlib
import importlib.metadata
import platform
from contextlib import suppress
from pathlib import Path

from garbage_cli.vendor import available_cores

RUNTIMES = ("openvino", "onnxruntime", "paddlepaddle", "paddlepaddle-gpu")


def processor() -> str:
    """Return the processor's name, or the architecture's where the system doesn't tell."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def has_int8_products() -> bool:
    """Say whether the processor adds products of 8-bit numbers in 32 bits (VNNI; dot products on ARM).

    Without it the sums of pairs are kept in 16 bits, which overflows: an int8 network then answers something else.
    """
    features = _features()
    wide = any(features.get(name) for name in ("AVX512_CLX", "AVX512_CNL_VNNI", "AVX512_ICL", "ASIMDDP"))
    # numpy has no name for the VNNI of processors without AVX-512; it asks the processor itself, though, while an
    # emulator shows the /proc/cpuinfo of the machine around it, which then names other features than numpy finds
    flags = _cpuinfo("flags").split()
    same = all((name.lower() in flags) == bool(features.get(name)) for name in ("AVX2", "AVX512F"))
    return wide or ("avx_vnni" in flags and bool(features.get("AVX2")) and same)


def fingerprint() -> str:
    """Return what all that speeds depend on comes to: processor, its features, usable cores, versions of engines."""
    facts = [processor(), str(available_cores()), *sorted(name for name, there in _features().items() if there)]
    for name in RUNTIMES:
        try:
            facts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _features() -> dict[str, bool]:
    """The processor's features by numpy's names."""
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        with suppress(ImportError):
            return dict(importlib.import_module(name).__cpu_features__)
    return {}


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
