"""Clients that public generators make of the OpenAPI document: they compile, send and read."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from notifications.models import Audience, Batch, Notification
from tests import registries

BIN = Path(sys.executable).parent

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


GO = """
package main

import (
	"context"
	"fmt"
	"os"

	client "example.org/notifications"
)

func check(err error) {
	if err != nil {
		if answered, ok := err.(*client.GenericOpenAPIError); ok {
			fmt.Fprintln(os.Stderr, string(answered.Body()))
		}
		panic(err)
	}
}

func main() {
	configuration := client.NewConfiguration()
	configuration.Servers[0].URL = os.Args[1]
	configuration.AddDefaultHeader("Authorization", "Bearer "+os.Args[2])
	api := client.NewAPIClient(configuration)
	ctx := context.Background()

	wanted := client.NewNotificationIn("simulator")
	wanted.SetRecipient("ada")
	wanted.SetBody("Hello")
	wanted.SetReference("go")
	made, _, err := api.NotificationsAPI.CreateNotification(ctx).
		IdempotencyKey("go").NotificationIn(*wanted).Execute()
	check(err)
	seen, _, err := api.NotificationsAPI.GetNotification(ctx, made.Id).Execute()
	check(err)
	if seen.Priority != "medium" || len(seen.Attempts) != 0 {
		panic(seen)
	}

	rows := client.NewBatchOfRows([]interface{}{
		map[string]string{"recipient": "ada"}, map[string]string{"recipient": "bob"},
	})
	rows.SetCommon(map[string]interface{}{"channel": "simulator", "body": "Hello, all"})
	batch, _, err := api.BatchesAPI.CreateBatch(ctx).
		Name("of-go").Batch(client.Batch{BatchOfRows: rows}).Execute()
	check(err)
	if batch.Accepted != 2 {
		panic(batch)
	}

	gold := client.NewFilterCondition("attributes.plan", "eq", "gold")
	everyone := client.NewFilterEveryone(true)
	_, _, err = api.RecipientsAPI.SaveAudience(ctx).AudienceIn(*client.NewAudienceIn(
		"gold", map[string]interface{}{"and": []interface{}{gold, everyone}})).Execute()
	check(err)
	audience, _, err := api.RecipientsAPI.GetAudience(ctx, "gold").Execute()
	check(err)
	matching, _, err := api.RecipientsAPI.PreviewAudience(ctx, "gold").Execute()
	check(err)
	if matching.Count != 0 || len(audience.Filter["and"].([]interface{})) != 2 {
		panic(audience)
	}

	nobody := client.NewNotificationIn("email")
	nobody.SetRecipient("nobody")
	nobody.SetSubject("Hi")
	nobody.SetBody("Hello")
	_, _, err = api.NotificationsAPI.CreateNotification(ctx).NotificationIn(*nobody).Execute()
	problem, ok := err.(*client.GenericOpenAPIError).Model().(client.Problem)
	if !ok || problem.GetField() != "recipient" {
		panic(err)
	}
	fmt.Println(made.Id, batch.Id)
}
"""
GENERATOR = "openapi-generator-cli==7.26.0"
GO_OPTIONS = "disallowAdditionalPropertiesIfNotPresent=false,packageName=notifications"
KINDS = "apis,models,supportingFiles"
WITHOUT = "apiDocs=false,apiTests=false,modelDocs=false,modelTests=false"


def test_a_go_client_of_openapi_generator_compiles_sends_and_reads(
    key: str, web: Any, tmp_path: Path
) -> None:
    for program in ("go", "java"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    jar = registries.pypi(GENERATOR) / "openapi_generator_cli" / "openapi-generator.jar"
    environment = {
        **os.environ,
        "GOCACHE": str(registries.CACHE / "go"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
    }

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        return done.stdout

    run(
        *("java", "-jar", jar, "generate", "-i", f"{web}/api/v1/openapi.json", "-g", "go"),
        *("--additional-properties", GO_OPTIONS, "--global-property", f"{KINDS},{WITHOUT}"),
        *("-o", tmp_path),
    )
    (tmp_path / "send").mkdir()
    (tmp_path / "send" / "main.go").write_text(GO)
    # The generator names it for schemas of ``oneOf``; the document has none, so nothing imports it.
    unused = ("-droprequire", "gopkg.in/validator.v2")
    run("go", "mod", "edit", "-module", "example.org/notifications", *unused)
    notification, batch = run("go", "run", "./send", web, key).split()

    assert Notification.objects.get(id=notification).reference == "go"
    assert Notification.objects.filter(batch_id=UUID(batch), body="Hello, all").count() == 2
    assert Batch.objects.get(id=batch).name == "of-go"
    assert Audience.objects.get(name="gold").filter["and"][0]["value"] == "gold"
