"""What a provider's server must prove: a certificate that we trust."""

import ssl

from notifications.channels import bounded_file

LARGEST_BUNDLE = 4 * 1024 * 1024  # bytes


def context(ca_file: str | None) -> ssl.SSLContext:
    """Make a context that trusts the authorities of a PEM file, else this machine's own.

    Raises ``OSError`` or ``ValueError`` for a file that is none.
    """
    if not ca_file:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=_read(ca_file))


def authorities(ca_file: str) -> bytes:
    """Return the authorities of a PEM file, as text in PEM.

    Raises ``OSError`` or ``ValueError`` for a file that is none.
    """
    text = _read(ca_file)
    ssl.create_default_context(cadata=text)  # refuses what is not a certificate
    return text.encode()


def _read(ca_file: str) -> str:
    text = bounded_file.read(ca_file, LARGEST_BUNDLE)
    return text.encode("ascii", "ignore").decode()
