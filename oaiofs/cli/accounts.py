"""The command that checks and remembers an account."""

from __future__ import annotations

from pathlib import Path

import click
import trio

from .. import credentials
from ..remote.address import server_url
from . import logs, terminal


@click.command()
@click.argument("host")
@click.option("--user", required=True, metavar="NAME", help="Your user name on HOST.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Take the password from the first line of F, which only you may be able to read.",
)
@click.option("--insecure", is_flag=True, help="Send the password over plain http if HOST is an http:// URL.")
@logs.verbose_option
def login(host: str, user: str, password_file: Path | None, insecure: bool) -> None:
    """Check an account and remember it for `oaiofs mount`.

    The password is asked for, or comes from --password-file or OAIOFS_PASSWORD. It is kept in the keyring of your
    desktop where there is one, else in a file that only you can read.
    """
    account = credentials.Account(server_url(host, insecure), user)
    password = credentials.find(account, password_file=password_file, recall=False, ask=terminal.ask())
    trio.run(_check, account, password, insecure)
    place = credentials.remember(account, password)
    click.echo(f"Logged in as {account}; the password is kept in {place}.")
    click.echo("`oaiofs mount MOUNTPOINT` mounts your objects.")


async def _check(account: credentials.Account, password: credentials.Secret, insecure: bool) -> None:
    from ..config import default_device_id
    from ..remote.oaio import HttpOaioServer

    server = HttpOaioServer(
        account.server,
        account.user,
        password.reveal(),
        device_id=default_device_id(),
        app_id="oaiofs",
        insecure=insecure,
    )
    try:
        await server.login()
    finally:
        await server.aclose()
