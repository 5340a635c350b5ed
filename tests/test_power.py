"""What the kernel's list of power supplies means."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiofs.power import on_battery

MAINS = {"type": "Mains", "online": "1"}
UNPLUGGED = {"type": "Mains", "online": "0"}
USB_C = {"type": "USB", "online": "1"}
CHARGING = {"type": "Battery", "status": "Charging", "scope": "System"}
DISCHARGING = {"type": "Battery", "status": "Discharging"}
FULL = {"type": "Battery", "status": "Full"}
MOUSE = {"type": "Battery", "status": "Discharging", "scope": "Device"}


@pytest.mark.parametrize(
    ("supplies", "so"),
    [
        ([], False),
        ([MAINS], False),
        ([UNPLUGGED], False),
        ([MAINS, CHARGING], False),
        ([MAINS, DISCHARGING], False),
        ([DISCHARGING, USB_C], False),
        ([MOUSE], False),
        ([UNPLUGGED, FULL], False),
        ([UNPLUGGED, DISCHARGING], True),
        ([FULL, DISCHARGING, MOUSE], True),
        ([{"type": "Battery"}, {}], False),
    ],
)
def test_on_battery(tmp_path: Path, supplies: list[dict[str, str]], so: bool) -> None:
    for number, supply in enumerate(supplies):
        folder = tmp_path / f"supply{number}"
        folder.mkdir()
        for name, text in supply.items():
            (folder / name).write_text(text + "\n")
    assert on_battery(tmp_path) is so


def test_a_machine_without_such_a_list_is_not_on_battery(tmp_path: Path) -> None:
    assert not on_battery(tmp_path / "nowhere")


def test_what_can_not_be_read_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "BAT0" / "type").mkdir(parents=True)
    (tmp_path / "BAT1").mkdir()
    (tmp_path / "BAT1" / "type").write_bytes(b"\xff\xfe")
    (tmp_path / "a file").touch()
    assert not on_battery(tmp_path)
