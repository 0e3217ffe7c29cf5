"""Look a name up where the only name server is silent; run in namespaces of its own.

Writes what came of it, as JSON: the lookup's error, whether the server was asked, and whether the
library still waited for it when the lookup had ended.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time

from django.conf import settings

from notifications.channels.outgoing import Reach, addresses

MS_BIND = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def begin() -> socket.socket:
    """Have this namespace's name server be a socket that answers nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(server, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP) + bytes(14))
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("nameserver 127.0.0.1\n")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(file.name.encode(), b"/etc/resolv.conf", None, MS_BIND, None):
        raise OSError(ctypes.get_errno(), "mount")
    server.bind(("127.0.0.1", 53))
    server.settimeout(10)
    return server


def main() -> None:
    settings.configure(OUTGOING_PRIVATE_HOSTS=[])
    server = begin()
    error = ""
    try:
        addresses("a.silent.example", 80, time.monotonic() + 0.3, Reach.RECIPIENT)
    except OSError as raised:
        error = type(raised).__name__
    waits = any(thread.name == "name lookup" for thread in threading.enumerate())
    asked = b"silent" in server.recv(512)
    sys.stdout.write(json.dumps({"error": error, "asked": asked, "waits": waits}))
    sys.stdout.flush()
    os._exit(0)  # the library still waits


main()
