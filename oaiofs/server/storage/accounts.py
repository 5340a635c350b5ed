"""Who is asking: tokens and Basic logins of the storage host, of its accounts and of their users (``logins``).

Must not know files. A user's login is checked in no time. Checking the password of an account costs 0.2 s by design, so
one that was right is remembered in memory, as a keyed hash that also covers the account's password hash: a changed
password is never answered from memory. Tokens live in memory as hashes and end with the server; clients log in again
on 401, as they do with the real host.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict

from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest

from ..answers import Refusal
from ..api import throttled
from ..models import StorageAccount
from ..throttle import Throttle
from . import logins
from .logins import Login

_MOST_TOKENS = 10_000
_TOKEN = re.compile(r'Token\s+(?:token=)?"?([A-Za-z0-9_-]+)"?', re.IGNORECASE)


class _Remembered:
    """A bounded map from digests to logins, the longest unused forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, tuple[int, int | None, str]] = OrderedDict()

    def digest(self, *secret: str) -> bytes:
        return hmac.digest(self._key, "\0".join(secret).encode(errors="replace"), hashlib.sha256)

    def get(self, digest: bytes) -> tuple[int, int | None, str] | None:
        """Primary keys of account and user, and the login's proof, for which *digest* was put."""
        with self._lock:
            found = self._entries.get(digest)
            if found is not None:
                self._entries.move_to_end(digest)
            return found

    def put(self, digest: bytes, login: Login) -> None:
        with self._lock:
            self._entries[digest] = (login.account.pk, login.user.pk if login.user else None, login.proof)
            while len(self._entries) > _MOST_TOKENS:
                self._entries.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        with self._lock:
            self._entries.pop(digest, None)


_tokens = _Remembered()
_passwords = _Remembered()
#: Authorization headers that were good when they were last seen.
_headers = _Remembered()
_logins = Throttle()


def login_of(request: HttpRequest) -> Login:
    """The login that a request's Authorization header proves. Raises Refusal 401, 429."""
    header = request.headers.get("Authorization", "")
    login = _proven(request, header)
    _headers.put(_headers.digest(header), login)
    return login


def is_known(header: str) -> bool:
    """Whether an Authorization header proved a login lately; no proof that it still does, but quickly told."""
    return _headers.get(_headers.digest(header)) is not None


def _proven(request: HttpRequest, header: str) -> Login:
    token = _TOKEN.fullmatch(header)
    if token:
        return _login_of_token(token[1])
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() == "basic":
        return log_in(request, *_basic(encoded))
    raise _unauthorized()


def log_in(request: HttpRequest, email: str, password: str) -> Login:
    """The login of *email* if *password* is its. Raises Refusal 401, 429."""
    if logins.is_users(email):
        # not throttled: such passwords can't be guessed, and devices with one that has ended are to ask for the new one
        login = logins.users_login(email, password)
        if login is None:
            raise _unauthorized()
        return login
    return Login(_account(request, email, password))


def _account(request: HttpRequest, email: str, password: str) -> StorageAccount:
    account = StorageAccount.objects.filter(email=email).first()
    stored = account.password_hash if account else ""
    digest = _passwords.digest(email, password, stored)
    if account is not None and _passwords.get(digest) is not None:
        return account
    key = (email, request.META.get("REMOTE_ADDR", ""))
    if not throttled(_logins, key, lambda: _is_right(password, stored)) or account is None:
        raise _unauthorized()
    _passwords.put(digest, Login(account))
    return account


def new_token(login: Login) -> str:
    token = secrets.token_urlsafe(32)
    _tokens.put(_tokens.digest(token), login)
    return token


def revoke_token(request: HttpRequest) -> None:
    """Raises Refusal 401 where the request carries no known token."""
    token = _TOKEN.fullmatch(request.headers.get("Authorization", ""))
    if not token:
        raise _unauthorized()
    _login_of_token(token[1])
    _tokens.drop(_tokens.digest(token[1]))


def _login_of_token(token: str) -> Login:
    found = _tokens.get(_tokens.digest(token))
    login = logins.find(*found[:2]) if found else None
    if found is None or login is None or login.proof != found[2]:
        raise _unauthorized()
    return login


def _is_right(password: str, stored: str) -> bool:
    if not stored:
        make_password(password)  # takes as long as a check: the time must not tell which emails exist
        return False
    return check_password(password, stored)


def _basic(encoded: str) -> tuple[str, str]:
    try:
        email, separator, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unauthorized() from None
    if not separator:
        raise _unauthorized()
    return email, password


def _unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "The storage host doesn't know that token, email or password.")
