"""The kernel's door, and the only one to pyfuse3.

    operations   the kernel's requests, translated; the one errno boundary
    announcer    what the kernel must forget, told to it
    session      begin, serve, write back, end
"""

from .announcer import Announcer
from .operations import Operations
from .session import attach, detach, serve, stop, widen, write_back

__all__ = ["Announcer", "Operations", "attach", "detach", "serve", "stop", "widen", "write_back"]
