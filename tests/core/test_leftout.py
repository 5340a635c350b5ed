"""What is left out is told, and bounded."""

from __future__ import annotations

from oaiofs.core import leftout, names
from oaiofs.core.leftout import LeftOut
from oaiofs.core.model import Skipped


def test_each_thing_is_told() -> None:
    left_out = LeftOut("things")
    left_out.add("a", "is odd")
    left_out.add("b", "is even")
    assert left_out.all == (Skipped("a", "is odd"), Skipped("b", "is even"))


def test_of_very_much_the_number_is_told() -> None:
    left_out = LeftOut("things")
    for number in range(leftout.MOST_TOLD + 5):
        left_out.add(str(number), "is odd")
    assert len(left_out.all) == leftout.MOST_TOLD + 1
    assert left_out.all[-1].what == "5 more things"


def test_a_hostile_list_of_files_is_told_briefly() -> None:
    kept, skipped = names.check_paths(["../x"] * 100_000 + ["fine"])
    assert kept == ("fine",)
    assert len(skipped) == leftout.MOST_TOLD + 1
    assert skipped[-1].what == "99000 more attached files"
