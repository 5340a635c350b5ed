"""The data directory, and Django's settings for it.

Must not know what is served. Django keeps its settings per process: the first ``open_site`` fixes all but the data
directory, which later calls may change as long as no server runs in this process (the command line and tests do).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import errors

#: Largest body of one object, bytes; settable in ``run``.
MAX_OBJECT_SIZE = 8 * 1024 * 1024
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_PRIVATE_DIR = 0o700
_PRIVATE_FILE = 0o600
#: Held while this process works on a data directory, except by a server once that has started.
_site_lock = threading.Lock()
#: The data directory that a server of this process runs on.
_served: str | None = None


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where everything of one server lies; see the package docstring."""

    root: str

    @property
    def database(self) -> str:
        return os.path.join(self.root, "oaio.sqlite3")

    @property
    def secret_key(self) -> str:
        return os.path.join(self.root, "secret.key")

    @property
    def storage(self) -> str:
        return os.path.join(self.root, "storage")

    @property
    def spool(self) -> str:
        return os.path.join(self.root, "tmp")

    def path(self, name: str) -> str:
        return os.path.join(self.root, name)


def require_django() -> None:
    """Raises UsageError, with the command that helps, where the optional extra is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("django", "waitress")):
        raise errors.UsageError(
            "The oaio server needs Django and waitress. Install them with: pip install 'oaiofs[server]'"
        )


@contextlib.contextmanager
def open_site(data: str | os.PathLike[str]) -> Iterator[DataDir]:
    """Make the data directory where needed, point Django at it and bring its schema up to date.

    The thread's database connection is closed at the end. Raises UsageError without Django, StateError where the
    directory can't be used, Busy where a server of this process runs on another one.
    """
    require_django()
    with _site_lock:
        place = _open(data)
        try:
            yield place
        finally:
            _close_connection()


@contextlib.contextmanager
def serving_site(data: str | os.PathLike[str]) -> Iterator[DataDir]:
    """As open_site, for a server: its only one, and the account functions can be used in this process meanwhile."""
    global _served  # noqa: PLW0603 - Django's settings are per process, and so is this
    require_django()
    with contextlib.ExitStack() as stack:
        with _site_lock:
            place = _open(data)
            stack.callback(_close_connection)
            stack.enter_context(_exclusive(place))
            _served = place.root
        try:
            yield place
        finally:
            _served = None


def _open(data: str | os.PathLike[str]) -> DataDir:
    try:
        place = _prepare(os.path.abspath(data))
        _configure(place)
        with _locked(place.path("setup.lock")):
            _migrate(place)
    except OSError as error:
        raise errors.StateError(f"The server's data directory {data} can't be used: {error.strerror}.") from error
    return place


def _close_connection() -> None:
    from django.db import connections

    connections.close_all()


@contextlib.contextmanager
def _exclusive(place: DataDir) -> Iterator[None]:
    """Hold the data directory as its only server. Raises Busy."""
    with open(os.open(place.path("server.lock"), os.O_RDWR | os.O_CREAT, _PRIVATE_FILE), "r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Busy(
                f"Another server already runs on {place.root}; stop it first or use another --data."
            ) from None
        yield


def _prepare(root: str) -> DataDir:
    place = DataDir(root)
    for folder in (root, place.storage, place.spool):
        os.makedirs(folder, _PRIVATE_DIR, exist_ok=True)
    os.chmod(root, _PRIVATE_DIR)
    # SQLite gives its own files the mode of the database: so make that first
    os.close(os.open(place.database, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE))
    return place


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _secret_key(place: DataDir) -> str:
    """The key that signs sessions, made on first use; linked into place so that two first users agree on one."""
    if not os.path.exists(place.secret_key):
        draft = os.path.join(place.spool, f"secret-{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, place.secret_key)
        os.unlink(draft)
    with open(place.secret_key, encoding="ascii") as file:
        return file.read()


def _configure(place: DataDir) -> None:
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        import django

        settings.configure(**_settings(place))
        django.setup()
    elif place.root != settings.OAIO_DATA:
        if _served is not None:
            raise errors.Busy(f"This process already serves {_served}.")
        connections.close_all()
        del connections["default"]
        connections.settings["default"]["NAME"] = place.database
        settings.SECRET_KEY = _secret_key(place)
        settings.FILE_UPLOAD_TEMP_DIR = place.spool
        settings.OAIO_DATA = place.root


def allow_hosts(names: Sequence[str], object_size: int) -> None:
    """Answer to these host names beyond loopback's, and take objects of up to *object_size* bytes."""
    from django.conf import settings

    settings.ALLOWED_HOSTS = [*LOOPBACK_NAMES, *names]
    settings.OAIO_MAX_OBJECT_SIZE = object_size


def _settings(place: DataDir) -> dict[str, Any]:
    from .passwords import Hasher

    return {
        "DEBUG": False,
        "SECRET_KEY": _secret_key(place),
        "ALLOWED_HOSTS": list(LOOPBACK_NAMES),
        "ROOT_URLCONF": "oaiofs.server.urls",
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oaiofs.server.apps.ServerConfig",
        ],
        "MIDDLEWARE": [
            "oaiofs.server.answers.AnswerMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        "DATABASES": {"default": _database(place)},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "PASSWORD_HASHERS": [f"{Hasher.__module__}.{Hasher.__qualname__}"],
        "CSRF_FAILURE_VIEW": "oaiofs.server.answers.csrf_failure",
        "SESSION_COOKIE_SAMESITE": "Strict",
        "CSRF_COOKIE_SAMESITE": "Strict",
        "APPEND_SLASH": False,
        "USE_I18N": False,
        "USE_TZ": True,
        "FILE_UPLOAD_TEMP_DIR": place.spool,
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            # refusals, a full queue and slow last answers are everyday life; what is left is the server's own failures
            "loggers": {
                "django.request": {"level": "ERROR"},
                "django.security": {"level": "CRITICAL"},
                "waitress": {"level": "ERROR"},
            },
        },
        "OAIO_DATA": place.root,
        "OAIO_MAX_OBJECT_SIZE": MAX_OBJECT_SIZE,
    }


def _database(place: DataDir) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": place.database,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # write transactions queue up instead of failing half way
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # FULL: an answered upload survives a power cut
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-8000;",
        },
    }


def _migrate(place: DataDir) -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)
