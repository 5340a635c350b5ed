"""Whether this machine runs on battery, as Linux tells below ``/sys/class/power_supply``.

Must not know what is saved then.
"""

from __future__ import annotations

from pathlib import Path

_SUPPLIES = Path("/sys/class/power_supply")


def on_battery(supplies: Path = _SUPPLIES) -> bool:
    """True where a battery of the machine is being used up and nothing else feeds it. Takes some milliseconds.

    A mouse's battery is none of the machine; what can't be read counts for nothing.
    """
    discharging = False
    for supply in _listed(supplies):
        kind = _read(supply / "type")
        if kind != "Battery" and _read(supply / "online") == "1":
            return False
        if kind == "Battery" and _read(supply / "scope") != "Device":
            discharging |= _read(supply / "status") == "Discharging"
    return discharging


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
