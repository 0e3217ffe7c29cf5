"""The typed fields are the fields that are read, and mypy finds a wrong name and a wrong value."""

import json
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from notifications.channels import mail
from notifications.core import retry, routing
from notifications.submission import fields
from scheduling import jobs
from scheduling.job_options import JobOptions

ROOT = Path(__file__).resolve().parents[4]
WRONG = """
from notifications.submission import send, send_many
from notifications.tasks import send_notification
from scheduling import jobs

send(channel="email", recipient="ada@example.org", body="Hi", priority="high")
send(chanel="email", recipient="ada@example.org", body="Hi")
send(channel="email", recipient="ada@example.org", body="Hi", priority="urgent")
send(recipient="ada@example.org", body="Hi")
send_many([{"recipient": "ada@example.org"}], channel="email", body="Hi", countdown="5")
send_notification.apply_async(kwargs={"channel": "sms", "recipient": "+4366412345678"}, expires=9)
send_notification.apply_async(kwargs={"channel": "fax", "recipient": "+4366412345678"})
send_notification.apply_async(kwargs={"chanel": "sms", "channel": "sms"})
jobs.register("nightly", "shop.report", "0 3 * * *", retries=3, overlap="queue")
jobs.register("nightly", "shop.report", "0 3 * * *", retrys=3)
jobs.register("nightly", "shop.report", "0 3 * * *", overlap="wait")
"""
WRONG_LINES = {7, 8, 9, 10, 12, 13, 15, 16}


def test_each_field_that_is_read_is_typed() -> None:
    read = (set(fields.Request._fields) - {"mail"}) | mail.FIELDS.keys()
    assert typing.get_type_hints(fields.Fields).keys() == read
    assert typing.get_type_hints(fields.CommonFields).keys() == read
    assert typing.get_args(fields.Channel) == routing.CHANNELS
    assert typing.get_args(fields.Priority) == routing.PRIORITIES
    assert typing.get_args(fields.Guarantee) == tuple(retry.Guarantee)


def test_each_option_of_a_job_is_typed() -> None:
    given = {"name", "handler", "schedule"}
    assert typing.get_type_hints(JobOptions).keys() == jobs.schema()["properties"].keys() - given


def test_an_attachments_fields_are_typed() -> None:
    assert typing.get_type_hints(fields.Attachment).keys() == mail.ATTACHMENT_FIELDS.keys()


@pytest.mark.slow
def test_mypy_finds_a_wrong_name_and_a_wrong_value(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WRONG)
    # With the options of ``make check``, whose cache would be of no use with others.
    command = (sys.executable, "-m", "mypy", str(program))
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    errors = [line for line in said.splitlines() if ": error" in line and program.name in line]
    lines = sorted({int(line.split(":")[1]) for line in errors})
    assert lines == sorted(WRONG_LINES), said


@pytest.mark.slow
def test_pyright_finds_them_too(tmp_path: Path) -> None:
    # basedpyright is pyright from a wheel: the other one is downloaded when it first runs.
    (tmp_path / "program.py").write_text(WRONG)
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    program = str(Path(sys.executable).parent / "basedpyright")
    command = (program, "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path))
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = json.loads(said)["generalDiagnostics"]
    lines = {
        finding["range"]["start"]["line"] + 1 for finding in found if finding["severity"] == "error"
    }
    assert lines == WRONG_LINES, said
