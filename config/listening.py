"""Whether a process can listen where it is told to, asked before its program starts."""

import os
import socket


def problem(host: str, port: int) -> str:
    """Return why nothing can listen there; empty if a process can."""
    if not 0 <= port < 2**16:
        return f"cannot listen on port {port}, for ports are from 0 to 65535"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        return f"cannot listen on {host} ({error.strerror})"
    except OSError as error:
        return f"cannot listen on port {port} of {host} ({os.strerror(error.errno or 0)})"
    return ""
