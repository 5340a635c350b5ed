"""Where passwords come from, where they go, and that they are shown nowhere."""

from __future__ import annotations

import importlib
import os
import pickle
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from oaiofs import credentials, errors
from oaiofs.credentials import Account, Secret

if TYPE_CHECKING:
    from pathlib import Path

ALICE = Account("https://oaio.example.org", "alice")

#: A keyring as a desktop's would be: real module, kept in a file.
_KEYRING = """
import json, os, pathlib
_file = pathlib.Path(os.environ["FAKE_KEYRING"])
def _read():
    return json.loads(_file.read_text()) if _file.exists() else {}
def set_password(service, user, password):
    _file.write_text(json.dumps({**_read(), service + " " + user: password}))
def get_password(service, user):
    return _read().get(service + " " + user)
"""
_BROKEN_KEYRING = """
def set_password(*words):
    raise RuntimeError("no backend")
get_password = set_password
"""
_NULL_KEYRING = """
def set_password(*words): pass
def get_password(*words): pass
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FAKE_KEYRING", str(tmp_path / "keyring.json"))
    use_keyring(tmp_path, monkeypatch, _BROKEN_KEYRING)
    return tmp_path


def use_keyring(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    place = folder / f"keyring-{abs(hash(source))}"
    place.mkdir()
    (place / "keyring.py").write_text(source)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "keyring", raising=False)


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("open sesame")
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]), "%s" % secret):  # noqa: UP031
        assert "sesame" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == "open sesame"
    assert secret == Secret("open sesame")
    assert secret != Secret("other")
    assert secret != "open sesame"
    assert len({secret, Secret("open sesame")}) == 1


@pytest.mark.parametrize("text", ["s3cret\n", "s3cret", "s3cret\r\n", "s3cret\nsecond line\n"])
def test_the_first_line_of_a_file_is_the_password(tmp_path: Path, text: str) -> None:
    assert credentials.from_file(private(tmp_path / "pw", text)) == Secret("s3cret")


def test_spaces_belong_to_a_password(tmp_path: Path) -> None:
    assert credentials.from_file(private(tmp_path / "pw", " two words \n")) == Secret(" two words ")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "my pw", "s3cret", mode)
    with pytest.raises(errors.ConfigError, match="others can read it") as caught:
        credentials.from_file(path)
    assert f"chmod 600 '{path}'" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("", "empty"), ("\nsecond", "empty")])
def test_an_empty_first_line_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(errors.ConfigError, match=words):
        credentials.from_file(private(tmp_path / "pw", text))


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="nowhere can't be read: No such file"):
        credentials.from_file(tmp_path / "nowhere")
    with pytest.raises(errors.ConfigError, match="can't be read"):
        credentials.from_file(tmp_path)


def test_bytes_that_are_no_text_are_refused_and_not_shown(tmp_path: Path) -> None:
    path = private(tmp_path / "pw", "")
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(errors.ConfigError, match="not UTF-8") as caught:
        credentials.from_file(path)
    assert "caf" not in str(caught.value)


def test_a_command_prints_the_password() -> None:
    assert credentials.from_command(["printf", "s3cret\nuser: alice\n"]) == Secret("s3cret")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo s3cret; exit 3"], "exit code 3"),
        (["true"], "first line is empty"),
        (["/no/such/program"], "can't be run: No such file"),
    ],
)
def test_a_command_that_fails_is_named_and_its_output_is_not(command: list[str], words: str) -> None:
    with pytest.raises(errors.ConfigError, match=words) as caught:
        credentials.from_command(command)
    assert f"`{command[0]}`" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_COMMAND_TIMEOUT", 0.1)
    with pytest.raises(errors.ConfigError, match="did not end"):
        credentials.from_command(["sleep", "60"])


def test_places_are_asked_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_over = tmp_path / "handed"
    handed_over.mkdir()
    private(handed_over / "oaiofs", "systemd", 0o440)  # as systemd hands it over
    credentials.remember(ALICE, Secret("remembered"))
    places: dict[str, object] = {
        "password_file": private(tmp_path / "pw", "file"),
        "environ": {"OAIOFS_PASSWORD": "environment", "CREDENTIALS_DIRECTORY": str(handed_over)},
        "password_command": ["echo", "command"],
        "ask": lambda question: "typed",
    }

    def found() -> str:
        return credentials.find(ALICE, **{"environ": {}, **places}).reveal()  # type: ignore[arg-type]

    assert found() == "file"
    del places["password_file"]
    assert found() == "environment"
    places["environ"] = {"CREDENTIALS_DIRECTORY": str(handed_over)}
    assert found() == "systemd"
    places["environ"] = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert found() == "command"
    del places["password_command"]
    assert found() == "remembered"
    places["recall"] = False
    assert found() == "typed"
    del places["ask"]
    with pytest.raises(errors.Unauthorized, match="oaiofs login"):
        found()


def test_nothing_typed_is_no_password() -> None:
    with pytest.raises(errors.Unauthorized):
        credentials.find(ALICE, environ={}, ask=lambda question: "")


def test_without_a_keyring_a_login_is_kept_in_a_private_file() -> None:
    os.umask(0o022)
    place = credentials.remember(ALICE, Secret("s3cret"))
    assert place == str(credentials.accounts_file())
    assert stat.S_IMODE(credentials.accounts_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.accounts_file().parent.stat().st_mode) == 0o700
    assert credentials.find(ALICE, environ={}) == Secret("s3cret")
    assert [entry.name for entry in credentials.accounts_file().parent.iterdir()] == ["accounts.json"]


def test_with_a_keyring_the_file_holds_no_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keyring(home, monkeypatch, _KEYRING)
    assert credentials.remember(ALICE, Secret("s3cret")) == "the keyring"
    assert "s3cret" not in credentials.accounts_file().read_text()
    assert "s3cret" in (home / "keyring.json").read_text()
    assert credentials.find(ALICE, environ={}) == Secret("s3cret")
    assert credentials.remembered() == (ALICE,)


def test_a_keyring_that_forgets_is_not_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keyring(home, monkeypatch, _NULL_KEYRING)
    assert credentials.remember(ALICE, Secret("s3cret")) == str(credentials.accounts_file())
    assert credentials.find(ALICE, environ={}) == Secret("s3cret")


def test_a_keyring_that_hangs_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keyring(home, monkeypatch, "import threading\nbegun, waiting = threading.Event(), threading.Event()\n"
                "def set_password(*words):\n    begun.set()\n    waiting.wait()\n")  # fmt: skip
    keyring = importlib.import_module("keyring")
    monkeypatch.setattr(credentials, "_KEYRING_TIMEOUT", 0.1)
    assert credentials.remember(ALICE, Secret("s3cret")) == str(credentials.accounts_file())
    assert keyring.begun.wait(60)
    keyring.waiting.set()


def test_the_newest_login_comes_first_and_replaces_its_older_self() -> None:
    bob = Account(ALICE.server, "bob")
    credentials.remember(ALICE, Secret("old"))
    credentials.remember(bob, Secret("b"))
    assert credentials.remembered() == (bob, ALICE)
    credentials.remember(ALICE, Secret("new"))
    assert credentials.remembered() == (ALICE, bob)
    assert credentials.find(ALICE, environ={}) == Secret("new")
    assert credentials.find(bob, environ={}) == Secret("b")


def test_remembered_passwords_that_others_can_read_are_refused() -> None:
    credentials.remember(ALICE, Secret("s3cret"))
    credentials.accounts_file().chmod(0o644)
    with pytest.raises(errors.ConfigError, match="chmod 600"):
        credentials.find(ALICE, environ={})


def test_a_damaged_file_of_accounts_is_named() -> None:
    credentials.remember(ALICE, Secret("s3cret"))
    credentials.accounts_file().write_text('{"accounts": [{"server": 3, "password": "s3cret"}]}')
    with pytest.raises(errors.ConfigError, match="damaged") as caught:
        credentials.remembered()
    assert "s3cret" not in str(caught.value)


def test_a_failed_write_keeps_the_file_that_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.remember(ALICE, Secret("s3cret"))

    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        credentials.remember(Account("https://other", "bob"), Secret("b"))
    assert credentials.remembered() == (ALICE,)
    assert [entry.name for entry in credentials.accounts_file().parent.iterdir()] == ["accounts.json"]
