"""The OpenAPI document tells the truth: a fuzzer and a generated client take it by its word."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest

from notifications.api.application import api
from notifications.callbacks import outbound
from notifications.models import Notification
from tests.integration.notifications.api import fuzz_checks
from tests.servers.processes import ROOT
from tests.thorough import THOROUGH

BIN = Path(sys.executable).parent
# What the schema itself leads to (its examples, the bounds of each parameter and body, and what
# lies beyond: of these ``fuzz_checks`` takes one of each kind), then random requests to each
# operation, then such in a row.
PHASES = "examples,coverage,fuzzing" + (",stateful" if THOROUGH else "")
EXAMPLES = 30 if THOROUGH else 1
SEED = os.environ.get("FUZZ_SEED", "1")
# A 422 to what fits the schema is judged by ``fuzz_checks``, by the document's own list.
CONFIG = """\
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
"""


def test_a_fuzzer_finds_no_fault_and_no_undocumented_answer(
    key: str, web: Any, tmp_path: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    run = subprocess.run(
        [
            *(BIN / "schemathesis", f"--config-file={config}", "run"),
            f"{web}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {key}"),
            *("--checks", "all", "--phases", PHASES, "--max-examples", str(EXAMPLES)),
            *("--continue-on-failure", "--no-color", "--seed", SEED),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": fuzz_checks.__name__, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2000:]


def test_the_document_is_one_of_openapi() -> None:
    openapi_spec_validator.validate(json.loads(json.dumps(api.get_openapi_schema())))


def test_generators_find_the_size_of_each_number_and_no_default_in_a_change() -> None:
    document = api.get_openapi_schema()
    parts = [*_parts(document["paths"]), *_parts(document["components"])]
    for part in parts:
        if part.get("type") == "number":
            assert part["format"] == "double", part
        if part.get("type") == "integer" and part.get("maximum", 2**63) >= 2**31:
            assert part["format"] == "int64", part
        assert not {"example", "examples"} <= part.keys(), part  # openapi-generator refuses both
    schemas = document["components"]["schemas"]
    used = {str(part["$ref"]).rpartition("/")[2] for part in parts if "$ref" in part}
    assert schemas.keys() == used
    changes = [schema for name, schema in schemas.items() if name.endswith("Change")]
    assert len(changes) == 3
    fields = [field for change in changes for field in change["properties"].values()]
    assert not any(
        "default" in part for field in fields for part in (field, *field.get("anyOf", ()))
    )
    assert "default" in schemas["JobDefinition"]["properties"]["misfire"]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each object within a document, but for those in examples."""
    if isinstance(schema, list):
        for part in schema:
            yield from _parts(part)
    elif isinstance(schema, dict):
        yield schema
        for name, part in schema.items():
            if name not in {"example", "examples"}:
                yield from _parts(part)


@pytest.mark.parametrize("how", ["", "?result=permanent&code=550"])
def test_the_document_describes_the_callback_that_is_sent(
    how: str, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(
        recipient=f"ada{how}", callback_url="https://shop.example.org/told", metadata={"order": 7}
    )
    deliver(row)
    outbound.tick()
    told = json.loads(Notification.objects.get(channel="callback").body)
    document = api.get_openapi_schema()
    (request,) = document["paths"]["/api/v1/notifications"]["post"]["callbacks"]["status"].values()
    body = request["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/StatusCallback"}
    jsonschema.validate(told, document["components"]["schemas"]["StatusCallback"])
    assert told["data"]["id"] == str(row.id)
    assert document["servers"] == [{"url": "/"}]
