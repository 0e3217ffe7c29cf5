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
from notifications.operations import api_keys
from tests.integration.notifications.api import fuzz_checks
from tests.servers.processes import ROOT, Processes
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


@pytest.fixture
def key(transactional_db: None) -> str:
    return api_keys.create("contract", rate=100_000).token


@pytest.fixture
def web(processes: Processes) -> Any:
    # The fuzzer tries a wrong key with each operation.
    processes.env["NOTIFICATIONS_API_WRONG_KEYS_PER_MINUTE"] = "100000"
    _, address = processes.web()
    return address


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
    assert not any("default" in one for field in fields for one in (field, *field.get("anyOf", ())))
    assert "default" in schemas["JobDefinition"]["properties"]["misfire"]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each object within a document, but for those in examples."""
    if isinstance(schema, list):
        for one in schema:
            yield from _parts(one)
    elif isinstance(schema, dict):
        yield schema
        for name, one in schema.items():
            if name not in {"example", "examples"}:
                yield from _parts(one)


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


CLIENT = """
import sys, time
from notifications_client import AuthenticatedClient
from notifications_client.api.notifications import create_notification, get_notification
from notifications_client.api.notifications import list_notifications
from notifications_client.models import NotificationIn, NotificationInChannel, Problem

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
with client:
    made = create_notification.sync(
        client=client,
        body=NotificationIn(
            channel=NotificationInChannel.SIMULATOR, recipient="ada", body="Hello", reference="mine"
        ),
        idempotency_key="generated",
    )
    assert not isinstance(made, Problem), made
    seen = get_notification.sync(made.id, client=client)
    found = list_notifications.sync(client=client, reference="mine")
    refused = create_notification.sync(
        client=client,
        body=NotificationIn(
            channel=NotificationInChannel.EMAIL, recipient="nobody", subject="Hi", body="Hello"
        ),
    )
assert seen.status == "queued", seen
assert [item.id for item in found.items] == [made.id]
assert isinstance(refused, Problem) and refused.field == "recipient", refused
print(made.id)
"""


def test_a_public_generator_makes_a_client_that_works(key: str, web: Any, tmp_path: Path) -> None:
    options = tmp_path / "options.yaml"
    options.write_text(
        "package_name_override: notifications_client\npost_hooks: []\n"
        "content_type_overrides:\n"
        "  application/problem+json: application/json\n"
        "  text/csv: application/octet-stream\n"
    )
    generated = subprocess.run(
        [
            *(BIN / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--url", f"{web}/api/v1/openapi.json", "--config", options),
            *("--output-path", tmp_path / "notifications_client"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    used = subprocess.run(
        [sys.executable, "-c", CLIENT, web, key],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    assert Notification.objects.get(id=used.stdout.strip()).reference == "mine"


TYPED = """
import createClient from "openapi-fetch";
import type { paths } from "./schema";

declare const process: { argv: string[] };
const [, , baseUrl, key] = process.argv;
const headers = { Authorization: `Bearer ${key}` };
const client = createClient<paths>({ baseUrl: baseUrl!, headers });

const made = await client.POST("/api/v1/notifications", {
  params: { header: { "Idempotency-Key": "typed" } },
  body: { channel: "simulator", recipient: "ada", body: "Hello", reference: "typed" },
});
if (!made.data) throw new Error(JSON.stringify(made.error));
const seen = await client.GET("/api/v1/notifications/{id}", {
  params: { path: { id: made.data.id } },
});
if (seen.data?.attempts.length !== 0 || seen.data.priority !== "medium") throw new Error("seen");
const refused = await client.POST("/api/v1/notifications", {
  body: { channel: "email", recipient: "nobody", subject: "Hi", body: "Hello" },
});
if (refused.error?.field !== "recipient") throw new Error(JSON.stringify(refused));
console.log(made.data.id);
"""
MISSPELT = TYPED.replace("recipient:", "recipent:", 1), TYPED.replace('"simulator"', '"pigeon"', 1)
COMPILE = ("--strict", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler")


def test_a_typescript_client_sends_and_refuses_to_compile_what_the_api_would_refuse(
    key: str, web: Any, npm_install: Callable[..., Path]
) -> None:
    folder = npm_install("openapi-typescript@7", "openapi-fetch@0.17", "typescript@5")

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    programs = {"client.ts": TYPED, **{f"wrong{n}.ts": code for n, code in enumerate(MISSPELT)}}
    for name, code in programs.items():
        (folder / name).write_text(code)
    options = ("--default-non-nullable=false", "--output", "schema.d.ts")
    made = run("node_modules/.bin/openapi-typescript", f"{web}/api/v1/openapi.json", *options)
    assert made.returncode == 0, made.stderr
    (folder / "package.json").write_text('{"type": "module"}')
    compiled = run("node_modules/.bin/tsc", *COMPILE, *programs)  # it reads its libraries once
    errors = [line.partition("(")[0] for line in compiled.stdout.splitlines() if "error TS" in line]
    assert sorted(errors) == ["wrong0.ts", "wrong1.ts"], compiled.stdout
    sent = run("node", "client.js", web, key)
    assert sent.returncode == 0, sent.stderr
    assert Notification.objects.get(id=sent.stdout.strip()).reference == "typed"
