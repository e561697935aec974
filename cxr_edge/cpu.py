"""What this PC's processor is called and can do, as far as the system tells."""

import platform
import sys
from pathlib import Path


def cpu_name() -> str:
    """Such as "AMD EPYC"; the architecture alone where the system says no more."""
    if sys.platform == "win32":
        return _windows_name()
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    return _cpuinfo().get("model name", platform.machine())


def cpu_features() -> frozenset[str]:
    """The names of what it can do, as Linux spells them: avx2, avx512_vnni, asimddp ...

    Elsewhere only what the system can be asked for (see has_avx2, has_vnni).
    """
    info = _cpuinfo() if sys.platform == "linux" else {}
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def has_avx2() -> bool | None:
    """None where the system does not say."""
    if sys.platform == "win32":
        import ctypes

        # PF_AVX2_INSTRUCTIONS_AVAILABLE (winnt.h)
        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(40))
    if sys.platform == "darwin":
        return "AVX2" in _sysctl("machdep.cpu.leaf7_features").split()
    return "avx2" in cpu_features()


def has_vnni() -> bool | None:
    """Whether it multiplies 8-bit numbers without saturating; None where the system does not say.

    Without it int8 needs reduced ranges, and gives other logits.
    """
    if sys.platform == "win32":
        return None
    if sys.platform == "darwin":
        return "AVX512VNNI" in _sysctl("machdep.cpu.leaf7_features").split()
    return bool(cpu_features() & {"avx512_vnni", "avx_vnni"})


def _cpuinfo() -> dict[str, str]:
    """The first processor's part of /proc/cpuinfo, which is long where there are many."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            text = file.read(8000).decode("utf-8", "replace")
    except OSError:
        return {}
    parts = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in parts}


def _windows_name() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return platform.machine()


def _sysctl(name: str) -> str:
    """One text that macOS tells, or "" (sysctlbyname(3))."""
    import ctypes

    buffer = ctypes.create_string_buffer(1024)
    size = ctypes.c_size_t(len(buffer))
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0)
    return "" if failed else buffer.value.decode("utf-8", "replace")
