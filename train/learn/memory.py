"""Freed memory stays with the process, for the next batch."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # <malloc.h>


def keep_freed_memory() -> None:
    """Tell glibc not to give freed tensors back to the system, where there is glibc.

    Otherwise each batch's activations are fetched from the kernel anew, page by page, which can
    cost as much as the arithmetic (benchmarks/training_memory.py).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
