"""A Windows job object around a process: it ends with this one, and gets only so much memory.

Learn.microsoft.com: "Job Objects", "JOBOBJECT_EXTENDED_LIMIT_INFORMATION". By ctypes, since pywin32
is no dependency.
"""

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _LIMIT_PROCESS_MEMORY = 0x100
    _LIMIT_KILL_ON_JOB_CLOSE = 0x2000
    _EXTENDED_LIMIT_INFORMATION = 9
    _PROCESS_TERMINATE, _PROCESS_SET_QUOTA = 0x1, 0x100

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
    _kernel32.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel32.SetInformationJobObject.argtypes = (
        *(wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD),
    )
    _kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)

    class Job:
        """One process, until `close`, or this process's own end, ends it."""

        def __init__(self, pid: int, memory_bytes: int) -> None:
            """memory_bytes: what the process may commit. Raises OSError."""
            limits = _ExtendedLimits()
            limits.BasicLimitInformation.LimitFlags = (
                _LIMIT_PROCESS_MEMORY | _LIMIT_KILL_ON_JOB_CLOSE
            )
            limits.ProcessMemoryLimit = memory_bytes
            self._handle = _checked(_kernel32.CreateJobObjectW(None, None))
            try:
                _checked(
                    _kernel32.SetInformationJobObject(
                        self._handle,
                        _EXTENDED_LIMIT_INFORMATION,
                        ctypes.byref(limits),
                        ctypes.sizeof(limits),
                    )
                )
                process = _checked(
                    _kernel32.OpenProcess(_PROCESS_TERMINATE | _PROCESS_SET_QUOTA, False, pid)
                )
                try:
                    _checked(_kernel32.AssignProcessToJobObject(self._handle, process))
                finally:
                    _kernel32.CloseHandle(process)
            except OSError:
                self.close()
                raise

        def close(self) -> None:
            _kernel32.CloseHandle(self._handle)

    def _checked(value: int | None) -> int:
        """A handle or a BOOL, neither of which is 0 where the call succeeded."""
        if not value:
            raise ctypes.WinError(ctypes.get_last_error())
        return value
