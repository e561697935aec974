"""A Windows job object around a process: it ends with this one, and gets only so much memory.

https://learn.microsoft.com/windows/win32/procthread/job-objects
"""

import sys

if sys.platform == "win32":
    import pywintypes
    import win32api
    import win32con
    import win32job
    import win32process

    _RIGHTS = (
        win32con.PROCESS_TERMINATE | win32con.PROCESS_SET_QUOTA | win32con.PROCESS_QUERY_INFORMATION
    )

    class Job:
        """One process, until `close`, or this process's own end, ends it."""

        def __init__(self, pid: int) -> None:
            """Raises OSError."""
            try:
                self._job = win32job.CreateJobObject(None, "")
                self._set(win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, 0)
                self._process = win32api.OpenProcess(_RIGHTS, False, pid)
                win32job.AssignProcessToJobObject(self._job, self._process)
            except pywintypes.error as exc:
                raise OSError(exc.strerror) from exc

        def limit_memory(self, n_bytes: int) -> None:
            """Let it commit so much beside what it has committed now. Raises OSError."""
            try:
                now = win32process.GetProcessMemoryInfo(self._process)["PagefileUsage"]
                flags = (
                    win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
                    | win32job.JOB_OBJECT_LIMIT_PROCESS_MEMORY
                )
                self._set(flags, now + n_bytes)
            except pywintypes.error as exc:
                raise OSError(exc.strerror) from exc

        def close(self) -> None:
            self._process.Close()
            self._job.Close()

        def _set(self, flags: int, memory_bytes: int) -> None:
            kind = win32job.JobObjectExtendedLimitInformation
            limits = win32job.QueryInformationJobObject(self._job, kind)
            limits["BasicLimitInformation"]["LimitFlags"] = flags
            limits["ProcessMemoryLimit"] = memory_bytes
            win32job.SetInformationJobObject(self._job, kind, limits)
