"""``python -m oaiofs.server``: the child process that ``process.spawn`` starts; people use ``oaiofs server run``."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from .. import errors
from .process import READY
from .service import run
from .site import MAX_OBJECT_SIZE

_PR_SET_PDEATHSIG = 1


def main() -> int:
    options = _options()
    _end_with(options.parent)
    logging.basicConfig(level=logging.WARNING, format="oaiofs server: %(levelname)s %(name)s: %(message)s")

    def report_ready(host: str, port: int) -> None:
        _report(options.report_fd, READY)

    try:
        with socket.socket(fileno=options.fd) as listener:
            run(options.data, sock=listener, ready=report_ready, max_object_size=options.max_object_size)
    except errors.OaiofsError as error:
        _report(options.report_fd, str(error).encode())
        return error.exit_code
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m oaiofs.server", description="Serve a data directory on a given socket."
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="a bound, listening socket")
    parser.add_argument("--report-fd", type=int, required=True, help="a pipe that takes one word when ready")
    parser.add_argument("--parent", type=int, required=True, help="end when this process is gone")
    parser.add_argument("--max-object-size", type=int, default=MAX_OBJECT_SIZE, help="bytes of one object's body")
    return parser.parse_args()


def _end_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(0)


def _report(fd: int, text: bytes) -> None:
    os.write(fd, text)
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
