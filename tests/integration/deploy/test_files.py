"""The files of deploy/ for systemd, Kubernetes and Alertmanager, checked by their own tools."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from config import processes
from notifications.worker.shutdown import HARD_AFTER
from tests.pages import commands
from tests.servers.processes import ROOT

DEPLOY = ROOT / "deploy"
PROGRAM = "/opt/notifications/.venv/bin/notifications"
# What no document here makes: it is named so in docs/production.md.
SECRET = "notifications"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not here")


@needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    units = sorted((DEPLOY / "systemd").iterdir())
    for unit in units:
        assert PROGRAM in unit.read_text() or "ExecStart" not in unit.read_text()
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    names = [unit.name.replace("@.", "@1.") for unit in units]
    env = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    command = ("systemd-analyze", "verify", *names)
    checked = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_target_starts_what_make_up_starts() -> None:
    wanted = re.findall(
        r"notifications-(\w+)", (DEPLOY / "systemd/notifications.target").read_text()
    )
    assert {"web", "worker", "beat"} <= set(wanted)
    for name in wanted:
        assert list((DEPLOY / "systemd").glob(f"notifications-{name}*"))


def test_every_orchestrator_gives_a_worker_the_time_that_it_may_wait_for_jobs() -> None:
    longest = max(settings.WORKER_SHUTDOWN_JOBS_GRACE, settings.WORKER_SHUTDOWN_GRACE) + HARD_AFTER
    unit = (DEPLOY / "systemd/notifications-worker.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    deployment, *_ = yaml.safe_load_all((DEPLOY / "kubernetes/worker.yaml").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    for seconds in (
        int(stop),
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        int(compose["stop_grace_period"].removesuffix("s")),
    ):
        assert seconds > longest


@needs("amtool")
def test_alertmanager_takes_its_example() -> None:
    file = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    checked = subprocess.run(["amtool", "check-config", file], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


@needs("amtool")
@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "tickets")])
def test_alertmanager_tells_whom_an_alerts_severity_asks_for(severity: str, receiver: str) -> None:
    file = f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}"
    command = ["amtool", "config", "routes", "test", file, f"severity={severity}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [receiver], done.stderr


@pytest.fixture(scope="module")
def manifests() -> list[Any]:
    folder = str(DEPLOY / "kubernetes")
    made = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, check=True)
    return list(yaml.safe_load_all(made.stdout))


def pods(manifests: list[Any]) -> Iterator[Any]:
    for manifest in manifests:
        if template := manifest["spec"].get("template") if "spec" in manifest else None:
            (container,) = template["spec"]["containers"]
            yield manifest["metadata"]["name"], template, container


@needs("kubectl")
def test_the_kubernetes_base_names_only_what_it_has(manifests: list[Any]) -> None:
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    labels = {name: template["metadata"]["labels"] for name, template, _ in pods(manifests)}
    for manifest in manifests:
        assert (
            manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "notifications"
        )
        if manifest["kind"] in ("PodDisruptionBudget", "Deployment"):
            chosen = manifest["spec"]["selector"]["matchLabels"]
            assert chosen.items() <= labels[manifest["metadata"]["name"]].items()
    for _, template, container in pods(manifests):
        for source in container["envFrom"]:
            assert source.get("secretRef", {}).get("name", SECRET) == SECRET
            if found := source.get("configMapRef"):
                assert ("ConfigMap", found["name"]) in names
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["image"].startswith("registry.example.org/notifications@sha256:")
    (scaled,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "scaling.yaml").read_text())
    assert ("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) in names


@needs("kubectl")
def test_kubernetes_runs_the_systems_own_processes_and_two_schedulers(manifests: list[Any]) -> None:
    commands = {name: tuple(container["command"]) for name, _, container in pods(manifests)}
    assert commands["web"] == processes.WEB
    assert commands["worker"][: len(processes.WORKER)] == processes.WORKER
    assert commands["beat"] == processes.BEAT
    (beat,) = [
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == ("Deployment", "beat")
    ]
    assert beat["spec"]["replicas"] == 2
    for name, _, container in pods(manifests):
        assert name == "migrate" or container["livenessProbe"]


@needs("kubectl")
def test_settings_of_kubernetes_and_systemd_are_settings(manifests: list[Any]) -> None:
    (config,) = [manifest for manifest in manifests if manifest["kind"] == "ConfigMap"]
    known = (ROOT / "docs" / "settings.md").read_text()
    units = "".join(path.read_text() for path in (DEPLOY / "systemd").iterdir())
    named = [
        name
        for line in re.findall(r"^Environment=(.+)$", units, re.M)
        for name in re.findall(r"(\w+)=", line)
    ]
    own = {"PYTHONUNBUFFERED", "GRANIAN_BLOCKING_THREADS"}
    for name in {*config["data"], *named} - own:
        assert f"`{name}`" in known, name


@needs("kubectl")
def test_kubectl_takes_the_commands_of_the_page_and_makes_what_the_pods_name(
    manifests: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "secrets.env").write_text("SECRET_KEY=a\nDATABASE_URL=postgres://u:p@db/n\n")
    lines = [line for _, line in commands(ROOT / "docs" / "production.md")]
    made = {}
    for line in lines:
        if line.startswith("kubectl") and " create " in line:
            offline = [*shlex.split(line), "--dry-run=client", "--output=yaml"]
            done = subprocess.run(offline, cwd=tmp_path, capture_output=True, check=True)
            manifest = yaml.safe_load(done.stdout)
            made[manifest["kind"]] = manifest
    assert made["Namespace"]["metadata"]["name"] == made["Secret"]["metadata"]["namespace"]
    assert made["Secret"]["metadata"]["name"] == SECRET
    assert {*made["Secret"]["data"]} == {"SECRET_KEY", "DATABASE_URL"}
    assert {
        pod["namespace"] for manifest in manifests if (pod := manifest["metadata"]).get("namespace")
    } == {made["Namespace"]["metadata"]["name"]}


DIGEST = "sha256:" + "0123456789abcdef" * 4
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec:\n  containers:\n    - image: "
OURS = f"images: [{{name: registry.example.org/notifications, digest: {DIGEST}}}]\n"


@needs("kubectl")
@pytest.mark.parametrize(
    ("images", "more", "refused"),
    [
        ("", "", "registry.example.org/notifications@sha256:0000"),
        (
            OURS.replace(f"digest: {DIGEST}", "newTag: '1'"),
            "",
            "registry.example.org/notifications:1",
        ),
        (OURS, "redis:7-alpine\n      name: redis\n", "  redis:7-alpine"),
        (OURS, "", ""),
        (OURS, f"redis@{DIGEST}\n      name: redis\n", ""),
    ],
    ids=["the base's", "a tag", "another's tag", "ours", "both"],
)
def test_nothing_is_applied_while_an_image_has_no_digest(
    tmp_path: Path, images: str, more: str, refused: str
) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    resources = ["../deploy/kubernetes", *(["other.yaml"] if more else [])]
    (overlay / "kustomization.yaml").write_text(f"resources: {resources}\n{images}")
    (overlay / "other.yaml").write_text(POD + more)
    stub = tmp_path / "bin" / "kubectl"  # the real one, but for a cluster
    stub.parent.mkdir()
    stub.write_text(
        f'#!/bin/sh\n[ "$1" = apply ] && exec cat >{tmp_path}/applied\n'
        f'exec {shutil.which("kubectl")} "$@"\n'
    )
    stub.chmod(0o755)
    done = subprocess.run(
        ["sh", "deploy/apply_kubernetes.sh", "overlay"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    applied = tmp_path / "applied"
    if refused:
        assert (done.returncode, applied.exists()) == (1, False)
        assert refused in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert f"image: registry.example.org/notifications@{DIGEST}" in applied.read_text()
