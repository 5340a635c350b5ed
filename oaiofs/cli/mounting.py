"""The commands that begin and end a mount."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import config, control, errors, mountinfo
from . import background, logs, report, terminal, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds that the kernel and the mount's process have for going away once the mount has said that it goes.
_STATUS_TIMEOUT = 10.0
_GONE_TIMEOUT = 30.0
_PROCESS_TIMEOUT = 10.0
LOG_NAME = "oaiofs.log"


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--server", metavar="HOST", help="The oaio server: host[:port] or a URL.")
@click.option("--user", metavar="NAME", help="Your user name there.")
@click.option("--acting-for", metavar="USER", help="Mount USER's objects: you are a superuser of the server.")
@click.option("--password-file", metavar="F", help="Take the password from the first line of F.")
@click.option("--client-root", metavar="DIR", help="Where this machine keeps its copies.")
@click.option("--device-id", metavar="ID", help="This machine's name for the servers; from the host name.")
@click.option("--app-id", metavar="ID", help="The application that new objects are made by; oaiofs.")
@click.option("--csh-id", metavar="ID", help="The storage host of new objects; Digi.")
@click.option("--storage-url", multiple=True, metavar="CSH_ID=URL", help="Where the storage host CSH_ID is.")
@click.option("--poll-interval", type=float, metavar="S", help="Seconds between two looks at the server; 15.")
@click.option("--quiet-time", type=float, metavar="S", help="Seconds without a change before it is pushed; 2.")
@click.option("--cache-size", metavar="SIZE", help="How much of the files may be kept here, like 20G; no limit.")
@click.option("--cache-free", metavar="SIZE", help="How much of this machine's disk stays free, like 5G; no limit.")
@click.option("--limit-up", metavar="RATE", help="Send at most so many bytes a second, like 500K or 2M.")
@click.option("--limit-down", metavar="RATE", help="Fetch at most so many bytes a second.")
@click.option("--read-only", is_flag=True, default=None, help="Refuse every change.")
@click.option("--allow-other", is_flag=True, default=None, help="Let other users of this machine in.")
@click.option("--insecure", is_flag=True, default=None, help="Allow plain http to another machine.")
@click.option("-o", "options", multiple=True, metavar="OPT,…", help="Mount options, as for mount(8).")
@click.option("--daemon", is_flag=True, help="Return once the mount answers; it goes on in the background.")
@logs.verbose_option
@click.pass_context
def mount(
    context: click.Context,
    /,
    mountpoint: Path,
    storage_url: tuple[str, ...],
    options: tuple[str, ...],
    daemon: bool,
    **flags: Any,
) -> None:
    """Mount your objects at the folder MOUNTPOINT.

    Without --server and --user it is the account of `oaiofs login` or of the configuration file. Without --daemon the
    mount lasts until Ctrl-C or `oaiofs umount`.
    """
    flags["storage_urls"] = _storage_urls(storage_url)
    flags |= _mount_options(options, flags)
    verbose = context.ensure_object(logs.Verbosity).level
    settings = config.load(control.resolve(mountpoint), flags, ask=terminal.ask(), verbose=verbose)

    from ..mount import run  # brings the whole file system along: not for a mistyped word

    if not daemon:
        logs.to_stderr(verbose)
        run(settings, ready=lambda: _say_mounted(settings, "Ctrl-C or "))
        return

    def work(ready: Callable[[], None]) -> None:
        run(settings, ready=ready)

    settings.client_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    background.run(work, settings.client_root / LOG_NAME, verbose)
    _say_mounted(settings)
    _say_offline(settings)


def _say_mounted(settings: config.Settings, ways_to_end: str = "") -> None:
    click.echo(
        f"{settings.user} at {settings.server} is mounted at {settings.mountpoint}; "
        f"{ways_to_end}`oaiofs umount {settings.mountpoint}` ends it."
    )


def _say_offline(settings: config.Settings) -> None:
    """A mistyped server looks like one that is down: better seen now than after a day's work."""
    with contextlib.suppress(errors.OaiofsError):
        status = control.call(control.find(mountpoint=settings.mountpoint), "status", _STATUS_TIMEOUT)
        if not status.get("online"):
            why = next((one["message"] for one in status.get("errors", ()) if "name" not in one), "no reason is known")
            click.echo(f"Offline for now: {why} Changes are kept here and go out when the server can be reached.")


def _storage_urls(pairs: Iterable[str]) -> dict[str, str] | None:
    urls = {}
    for pair in pairs:
        csh_id, equals, url = pair.partition("=")
        if not (csh_id and equals and url):
            raise errors.UsageError(f"--storage-url {pair!r} is not CSH_ID=URL, such as Digi=http://localhost:8642.")
        urls[csh_id] = url
    return urls or None


def _mount_options(given: Iterable[str], flags: dict[str, Any]) -> dict[str, Any]:
    """The options of mount(8) that are settings here, as settings; the others go on to FUSE as they are."""
    words = [word.strip() for group in given for word in group.split(",") if word.strip()]
    ours = {"ro": ("read_only", True), "rw": ("read_only", False), "allow_other": ("allow_other", True)}
    found = {name: flags.get(name) for name in ("read_only", "allow_other")}
    found |= dict(ours[word] for word in words if word in ours)
    return {**found, "fuse_options": tuple(word for word in words if word not in ours) or None}


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--flush", is_flag=True, help="Only once every change is on the servers.")
@click.option("--force", is_flag=True, help="Also while programs use it: what they write after is lost.")
@waiting.timeout_option("With --flush: after S seconds, stay.")
@waiting.quiet_option
@logs.verbose_option
def umount(mountpoint: Path, flush: bool, force: bool, timeout: float | None, quiet: bool) -> None:
    """End the mount at MOUNTPOINT.

    Changes that are not on the servers yet are kept and go out with the next mount.
    """
    place = control.resolve(mountpoint)
    try:
        running = control.find(mountpoint=place)
    except errors.NotMounted:
        _remove_dead(place)
        return
    pending = _end(running, timeout, flush=flush, force=force, quiet=quiet)
    if not mountinfo.wait_gone(place, _GONE_TIMEOUT):
        raise errors.Busy(f"{place} is still mounted: end what uses it and try again; `fuser -vm {place}` shows that.")
    mountinfo.wait_ended(running.pid, _PROCESS_TIMEOUT)
    click.echo(f"{place} is unmounted." + (f" {_kept(pending, running)}" if pending else ""))


def _end(running: control.RunningMount, timeout: float | None, *, flush: bool, force: bool, quiet: bool) -> int:
    """Have the mount end; the answer is how many changes it could not push any more."""
    try:
        answer = waiting.call(running, "umount", timeout, quiet=quiet or not flush, flush=flush, force=force)
    except errors.NotMounted:
        return 0  # it was ending already
    return report.count(answer.get("pending"))


def _kept(pending: int, running: control.RunningMount) -> str:
    return f"Changes not on the servers yet: {pending}; they are kept in {running.client_root} for the next mount."


def _remove_dead(place: Path) -> None:
    """Unmount what a killed mount left. Raises NotMounted where nothing of oaiofs is mounted."""
    found = mountinfo.at(place)
    if found is None:
        raise errors.NotMounted(f"Nothing is mounted at {place}.")
    if not found.is_oaiofs:
        raise errors.NotMounted(f"What is mounted at {place} is not of oaiofs ({found.kind}): it is left alone.")
    mountinfo.remove(place)
    click.echo(
        f"{place} is unmounted. Its process was gone (killed, perhaps); changes not on the servers yet are kept and go "
        "out with the next mount."
    )


@click.command()
@click.argument("mountpoint", required=False, type=click.Path(path_type=Path))
@logs.verbose_option
@click.pass_context
def demo(context: click.Context, mountpoint: Path | None) -> None:
    """Show everything with sample objects on this machine.

    A server with storage is started and its objects are mounted at MOUNTPOINT, ~/oaio-demo where none is given.
    Nothing leaves this machine; Ctrl-C ends all of it.
    """
    from .. import demo as demonstration

    logs.to_stderr(context.ensure_object(logs.Verbosity).level)
    place = control.resolve(mountpoint or Path("~/oaio-demo"))
    demonstration.run(place, click.echo)
