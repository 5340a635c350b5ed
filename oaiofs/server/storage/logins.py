"""The logins that users get: each their own, to the storage account whose files they share.

Such a login is derived from the server's secret key and from the passwords of account and user, so there is nothing to
store, and it ends when one of these changes or the user is gone. Must not know HTTP, files or rights.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils.crypto import salted_hmac

from ..models import StorageAccount

#: No account has such an email (``service.add_storage``).
_EMAIL = re.compile(r"oaio-user-([0-9]{1,18})-([0-9]{1,18})")
_SALT = "oaiofs.server.storage.logins"


@dataclass(frozen=True, slots=True)
class Login:
    """Who is asking: a *user* of the *account*, or with None the account itself, which may do everything."""

    account: StorageAccount
    user: User | None = None

    @property
    def email(self) -> str:
        """What it logs in with: not one of the mailboxes of this world, for a user."""
        return self.account.email if self.user is None else f"oaio-user-{self.user.pk}-{self.account.pk}"

    @property
    def proof(self) -> str:
        """Another one as soon as the login has ended."""
        return f"{self.account.password_hash}\0{self.user.password if self.user else ''}"


def password_of(login: Login) -> str:
    """The password of a user's login."""
    digest = salted_hmac(_SALT, f"{login.email}\0{login.proof}", algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_users(email: str) -> bool:
    """Whether this is the email of a user's login, there or not."""
    return _EMAIL.fullmatch(email) is not None


def users_login(email: str, password: str) -> Login | None:
    """The user's login with this *email*, if the password is right."""
    match = _EMAIL.fullmatch(email)
    login = find(int(match[2]), int(match[1])) if match else None
    if login is None or not hmac.compare_digest(password_of(login).encode(), password.encode(errors="replace")):
        return None
    return login


def find(account_key: int, user_key: int | None) -> Login | None:
    """The login of these primary keys, if account and user (None: the account itself) are there."""
    account = StorageAccount.objects.filter(pk=account_key).first()
    if account is None or user_key is None:
        return Login(account) if account else None
    user = User.objects.filter(pk=user_key, is_active=True).first()
    return Login(account, user) if user else None
