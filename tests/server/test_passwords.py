"""What a password costs the server, and that the administrator's word for it counts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from oaiofs import errors
from oaiofs.server import service
from oaiofs.server.passwords import COST_VARIABLE, cost_of
from tests.serverkit import serving

from .clients import Oaio


@pytest.mark.parametrize(("given", "cost"), [(None, 14), ("", 14), ("10", 10), ("17", 17)])
def test_cost(given: str | None, cost: int) -> None:
    assert cost_of(given) == cost


@pytest.mark.parametrize("given", ["9", "18", "14.5", "-14", "much", "\u0661\u0664", "1" * 5000])
def test_no_cost(given: str) -> None:
    with pytest.raises(errors.UsageError, match="from 10 to 17"):
        cost_of(given)


def _kept(data: Path) -> str:
    with sqlite3.connect(data / "oaio.sqlite3") as database:
        [(password,)] = database.execute("SELECT password FROM auth_user")
    assert isinstance(password, str)
    return password


def test_what_was_kept_at_another_cost_is_kept_anew_at_the_next_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.add_user(tmp_path, "bob", "pw")
    for cost in ("15", "11"):  # 15 takes more memory than OpenSSL allows without being told
        monkeypatch.setenv(COST_VARIABLE, cost)
        with serving(tmp_path) as server, Oaio(server, "bob", "pw") as session:
            assert session.log_in("other").status_code == 401
            assert session.log_in("pw").status_code == 200
        assert _kept(tmp_path).startswith(f"scrypt${1 << int(cost)}$")


def test_a_server_with_an_impossible_cost_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COST_VARIABLE, "much")
    sentence = f"{COST_VARIABLE} is a number from 10 to 17, not 'much'"
    with pytest.raises(errors.StateError, match=sentence), serving(tmp_path):
        pass
