"""How many descriptors a process may have, and which errors say that it has none left."""

import errno
import subprocess
import sys

from notifications.core import descriptors

LIMITS = """
import resource
from notifications.core import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
descriptors.raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_process_uses_what_the_system_allows_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LIMITS], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "(512, 512)"


def test_an_error_without_a_descriptor_is_known_by_its_cause() -> None:
    error = RuntimeError()
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert descriptors.are_spent(error)
    assert not descriptors.are_spent(OSError(errno.ECONNREFUSED, "Connection refused"))
    assert not descriptors.are_spent(None)
