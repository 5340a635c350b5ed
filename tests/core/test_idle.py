"""How often to look when nothing happens, and what cut holds mean."""

from __future__ import annotations

import pytest

from oaiofs.core import idle
from oaiofs.core.idle import Holding


def test_a_network_that_cuts_holds_gets_shorter_ones_and_then_none() -> None:
    holding, waits = Holding(), []
    for _ in range(8):
        waits.append(holding.wait)
        holding = holding.cut()
    assert waits == [50.0, 50.0, 25.0, 25.0, 12.5, 12.5, 0.0, 0.0]


def test_a_single_cut_costs_nothing() -> None:
    """A server that is restarted now and then."""
    holding = Holding()
    for _ in range(10):
        holding = holding.cut().kept()
    assert holding == Holding()


def test_what_was_found_to_hold_stays() -> None:
    shorter = Holding().cut().cut()
    assert shorter.kept().wait == 25.0
    assert shorter.looked().wait == 25.0


def test_holding_is_tried_again_after_many_plain_looks() -> None:
    holding = Holding(0.0)
    looks = 0
    while not holding.wait:
        holding = holding.looked()
        looks += 1
    assert (looks, holding) == (60, Holding())


@pytest.mark.parametrize(("lasted", "held"), [(0.0, False), (0.3, False), (24.0, False), (26.0, True), (51.0, True)])
def test_an_answer_at_once_was_not_held(lasted: float, held: bool) -> None:
    assert idle.was_held(lasted, 50.0) is held


def test_long_lists_take_a_share_of_the_time_at_most() -> None:
    assert idle.breath(3, 15.0) == 0.3
    assert idle.breath(2_000, 15.0) == 2.0
    assert idle.breath(100_000, 15.0) == 15.0
    assert idle.breath(3, 0.1) == 0.1


def test_doubts_do_not_wait_for_a_long_interval() -> None:
    assert idle.soon(3600.0) == 15.0
    assert idle.soon(1.0) == 1.0


def test_looks_become_rarer_while_nothing_happens_but_only_so_much() -> None:
    waits = [idle.next_look(10.0, unchanged, on_battery=False) for unchanged in (0, 1, 20, 21, 22, 23, 24, 10_000)]
    assert waits == [10.0, 10.0, 10.0, 15.0, 22.5, 33.75, 40.0, 40.0]
    assert [idle.is_stretched(unchanged) for unchanged in (0, 20, 21)] == [False, False, True]


def test_on_battery_all_of_it_takes_twice_as_long() -> None:
    assert idle.next_look(10.0, 0, on_battery=True) == 20.0
    assert idle.next_look(10.0, 500, on_battery=True) == 80.0
