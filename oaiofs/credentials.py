"""Where a user's password comes from, and where ``oaiofs login`` leaves it.

Looked for in this order: a password file that was named, ``OAIOFS_PASSWORD``, ``$CREDENTIALS_DIRECTORY/oaiofs``
(systemd), the configured password command, what ``oaiofs login`` remembered, and last the terminal. A login is
remembered in ``accounts.json``, mode 0600, and its password in the desktop's keyring where one works, else in that
file too.

Must not know servers or settings. A password is a ``Secret`` from the moment it is read; its text is in no message.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import stat
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import platformdirs

from . import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Account", "Secret", "accounts_file", "find", "from_command", "from_file", "remember", "remembered",
           "write_private"]  # fmt: skip

_SERVICE = "oaiofs"
_MAX_PASSWORD = 4096
_COMMAND_TIMEOUT = 60.0
#: A keyring may be waiting for its user to unlock it, or for a desktop bus that never answers.
_KEYRING_TIMEOUT = 60.0


class Secret:
    """A text that shows itself to ``reveal`` only: not in str, repr, format, logs, pickles or tracebacks."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Secret does not leave its process")


class Account(msgspec.Struct, frozen=True, order=True):
    """One user on one server; *server* is the complete URL."""

    server: str
    user: str

    def __str__(self) -> str:
        return f"{self.user} at {self.server}"


class _Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A remembered login; *password* is empty where the keyring holds it."""

    server: str
    user: str
    password: str = ""

    @property
    def account(self) -> Account:
        return Account(self.server, self.user)

    def __repr__(self) -> str:
        return f"_Entry({self.account})"


class _Entries(msgspec.Struct, frozen=True):
    accounts: tuple[_Entry, ...] = ()


def find(
    account: Account,
    *,
    password_file: Path | None = None,
    password_command: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    recall: bool = True,
    ask: Callable[[str], str] | None = None,
) -> Secret:
    """The password of *account* from the first place that has one; what was remembered counts only with *recall*.

    *ask* puts a question to the user and is None where nobody is there to answer. Raises Unauthorized where no place
    has a password, ConfigError where a named place can't be used.
    """
    if password_file is not None:
        return from_file(password_file)
    if given := environ.get("OAIOFS_PASSWORD"):
        return Secret(given)
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        handed_over = Path(folder, "oaiofs")
        if handed_over.exists():
            return _first_line(handed_over, private=False)  # systemd's own folder: its modes are systemd's matter
    if password_command:
        return from_command(password_command)
    stored = _recall(account) if recall else None
    if stored is not None:
        return stored
    if ask is not None and (typed := ask(f"Password of {account}")):
        return Secret(typed)
    raise errors.Unauthorized(
        f"No password is known for {account}: run `oaiofs login {account.server} --user {account.user}`, or hand one "
        "over with --password-file or OAIOFS_PASSWORD."
    )


def from_file(path: Path) -> Secret:
    """The first line of *path*. Raises ConfigError where it can't be read or others than its owner can read it."""
    return _first_line(path, private=True)


def _first_line(path: Path, *, private: bool) -> Secret:
    try:
        with path.open("rb") as file:
            if private and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise errors.ConfigError(
                    f"{path} holds a password but others can read it: run `chmod 600 {shlex.quote(str(path))}`, and "
                    "change the password if anybody else uses this machine."
                )
            text = file.readline(_MAX_PASSWORD)
    except OSError as error:
        raise errors.ConfigError(f"The password file {path} can't be read: {error.strerror}.") from error
    return _password(text, f"The password file {path}")


def from_command(command: Sequence[str]) -> Secret:
    """The first line that *command* prints. Raises ConfigError where it fails, is silent or takes over a minute."""
    name = f"The password command `{command[0]}`"
    try:
        # Standard input and error stay the user's: a command such as `pass` may have to ask something itself.
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_COMMAND_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise errors.ConfigError(f"{name} did not end within {_COMMAND_TIMEOUT:.0f} seconds.") from None
    except OSError as error:
        raise errors.ConfigError(f"{name} can't be run: {error.strerror}.") from error
    if done.returncode != 0:
        raise errors.ConfigError(f"{name} failed with exit code {done.returncode}: run it by hand to see why.")
    return _password(done.stdout.partition(b"\n")[0], name)


def _password(line: bytes, origin: str) -> Secret:
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise errors.ConfigError(f"{origin} gave a password that is not UTF-8 text.") from None
    if not text:
        raise errors.ConfigError(f"{origin} gave no password: its first line is empty.")
    return Secret(text)


def accounts_file() -> Path:
    """Where logins are remembered: ``$XDG_CONFIG_HOME/oaiofs/accounts.json``."""
    return platformdirs.user_config_path("oaiofs") / "accounts.json"


def remembered() -> tuple[Account, ...]:
    """The accounts of past logins, newest first."""
    return tuple(entry.account for entry in _read_entries())


def remember(account: Account, password: Secret) -> str:
    """Keep *account* and its password for later commands; the answer names the place, for the user."""

    def keep(keyring: Any) -> str | None:
        keyring.set_password(_SERVICE, str(account), password.reveal())
        kept: str | None = keyring.get_password(_SERVICE, str(account))  # a null backend takes all and keeps nothing
        return kept

    in_keyring = _keyring_call(keep) == (password.reveal(),)
    entry = _Entry(account.server, account.user, "" if in_keyring else password.reveal())
    others = [known for known in _read_entries() if known.account != account]
    content = msgspec.json.format(msgspec.json.encode(_Entries((entry, *others))))
    write_private(accounts_file(), content + b"\n")
    return "the keyring" if in_keyring else str(accounts_file())


def _recall(account: Account) -> Secret | None:
    entry = next((entry for entry in _read_entries() if entry.account == account), None)
    if entry is None:
        return None
    if entry.password:
        return Secret(entry.password)
    answer = _keyring_call(lambda keyring: keyring.get_password(_SERVICE, str(account)))
    return Secret(answer[0]) if answer and answer[0] else None


def _read_entries() -> tuple[_Entry, ...]:
    path = accounts_file()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise errors.ConfigError(
                    f"{path} may hold passwords but others can read it: run `chmod 600 {shlex.quote(str(path))}`."
                )
            return msgspec.json.decode(file.read(), type=_Entries).accounts
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise errors.ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except msgspec.MsgspecError:
        raise errors.ConfigError(f"{path} is damaged: remove it and run `oaiofs login` again.") from None


def write_private(path: Path, content: bytes) -> None:
    """Put *content* whole or not at all at *path*, for this user only; a missing folder is made, likewise private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # made 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _keyring_call(work: Callable[[Any], str | None]) -> tuple[str | None] | None:
    """What *work* got of the keyring, in a tuple; None where none is installed, works, or answers in time.

    Run in a thread of its own, since a keyring's D-Bus call can't be given a timeout from outside.
    """
    answers: queue.SimpleQueue[tuple[str | None] | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            import keyring  # an optional extra, slow to import

            answers.put((work(keyring),))
        except Exception:  # whatever a backend raises, the meaning is the same: no keyring here
            answers.put(None)

    threading.Thread(target=ask, name="keyring", daemon=True).start()
    try:
        return answers.get(timeout=_KEYRING_TIMEOUT)
    except queue.Empty:
        return None
