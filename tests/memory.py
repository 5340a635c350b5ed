"""How much memory another process has, from /proc."""

from __future__ import annotations

import re
from pathlib import Path

MIB = 1 << 20


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, f"no {name} of process {pid}"
    return int(found[1]) * 1024


def resident(pid: int) -> int:
    """Bytes in memory now."""
    return _status(pid, "VmRSS")


def begin_peak(pid: int) -> int:
    """Forget the most that the process ever had; what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident(pid)


def peak(pid: int) -> int:
    """The most bytes in memory since ``begin_peak``."""
    return _status(pid, "VmHWM")
