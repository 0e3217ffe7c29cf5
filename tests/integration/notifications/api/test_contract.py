"""The OpenAPI document tells the truth: a fuzzer and a generated client take it by its word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifications.api import keys

BIN = Path(sys.executable).parent
# What the schema cannot say (a template's name, an address of the channel) is said by a 422, and
# a conflict by a 409.
CONFIG = """\
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""


@pytest.fixture
def key(transactional_db):
    return keys.create("contract", rate=100_000).token


@pytest.fixture
def web(processes):
    _, address = processes.web()
    return address


@pytest.mark.timeout(600)
def test_a_fuzzer_finds_no_fault_and_no_undocumented_answer(key, web, tmp_path):
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    run = subprocess.run(
        [
            *(BIN / "schemathesis", f"--config-file={config}", "run"),
            f"{web}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {key}"),
            *("--checks", "all", "--max-examples", os.environ.get("FUZZ_EXAMPLES", "30")),
            *("--continue-on-failure", "--no-color", "--seed", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2000:]
