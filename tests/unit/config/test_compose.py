"""docker-compose.yml describes the system that the acceptance tests run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from flower.options import default_options

from config import processes

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("web", "worker", "beat", "flower", "smtp", "migrate")
FILLED_IN = {
    "EMAIL_FROM": "notify@example.org",
    "SECRET_KEY": "an-example-that-is-long-enough-to-pass-the-check-0123456789",
    "POSTGRES_PASSWORD": "0123456789abcdef",
    "FLOWER_BASIC_AUTH": "admin:secret",
    "GRAFANA_PASSWORD": "secret",
    "METRICS_TOKEN": "secret",
    "PUBLIC_URL": "https://notify.example.org",
}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _interpolated(text: str, values: dict[str, str]) -> str:
    """Fill in ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?complaint}`` as compose does."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if values.get(name):
            return values[name]
        assert kind != "?", f"{name} has to be set: {rest}"
        return rest or ""

    return VARIABLE.sub(value, text)


def _environment(service: str, values: dict[str, str]) -> dict[str, str]:
    given = SERVICES[service].get("environment", {})
    return {name: _interpolated(str(value), values) for name, value in given.items()}


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("web", processes.WEB),
        ("worker", processes.WORKER),
        ("beat", processes.BEAT),
        ("flower", processes.FLOWER),
        ("smtp", processes.SMTP),
    ],
)
def test_each_service_runs_the_command_of_its_process(
    service: str, command: tuple[str, ...]
) -> None:
    assert tuple(SERVICES[service]["command"]) == command


WATCHING = ("prometheus", "alertmanager", "grafana")


def test_it_has_all_parts_and_two_schedulers() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "redis", "mail", *WATCHING}
    assert SERVICES["beat"]["deploy"]["replicas"] == 2


def test_redis_keeps_its_messages() -> None:
    command = shlex.join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"migrate"}))
def test_each_service_that_stays_has_a_health_check(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"]


def test_a_scheduler_whose_loop_hangs_is_not_healthy() -> None:
    assert SERVICES["beat"]["healthcheck"]["test"][1:] == [
        "python",
        "manage.py",
        "scheduler_health",
    ]


@pytest.mark.parametrize("service", OURS)
def test_what_our_services_write_is_in_a_volume_of_their_own(service: str) -> None:
    assert "/var/lib/notifications" in SERVICES[service]["volumes"]
    assert "VAR_DIR=/var/lib/notifications" in (ROOT / "Dockerfile").read_text()


def test_the_admin_leads_to_flower() -> None:
    assert _environment("web", FILLED_IN)["FLOWER_URL"] == "http://localhost:5555"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_each_service_has_limits(service: str) -> None:
    limits = SERVICES[service]["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])
    assert limits["pids"] > 0


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_service_runs_as_root_or_may_become_root(service: str) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    if service != "postgres":  # whose entry point leaves root by itself
        assert not SERVICES[service]["user"].startswith("0:")


def test_our_services_run_as_the_user_of_the_image() -> None:
    made = re.search(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert made
    for service in OURS:
        assert SERVICES[service]["user"] == f"{made[1]}:{made[1]}"


def test_every_image_names_its_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    assert all(re.search(r":v?\d", image) for image in images)


DIGEST = "sha256:" + "0123456789abcdef" * 4
BASE = re.findall(r"(?m)^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text())


def test_every_image_is_named_by_tag_and_digest() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    assert len(images) == 6
    assert len(BASE) == 1
    for image in (*images, *BASE):
        assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*@sha256:[0-9a-f]{64}", image)


def _newest(image: str) -> str:
    """The image as the script names it when the registry has another digest for its tag."""
    return f"{image.partition('@')[0]}@{DIGEST}"


def test_a_script_pins_every_image_by_its_digest(tmp_path: Path) -> None:
    for name in ("docker-compose.yml", "Dockerfile", "deploy/pin_images.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"  # stands for a registry's answer, or none
    docker.parent.mkdir()
    docker.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n{{ test -z "$AWAY" && echo {DIGEST}; }}\n'
    )
    docker.chmod(0o755)
    env = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    command = ["sh", "deploy/pin_images.sh"]
    away = subprocess.run(
        command, cwd=tmp_path, env={**env, "AWAY": "1"}, capture_output=True, check=False
    )
    assert away.returncode != 0
    assert not (tmp_path / "docker-compose.images.yml").exists()
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    written = yaml.safe_load((tmp_path / "docker-compose.images.yml").read_text())["services"]
    assert re.findall(r"(?m)^FROM (\S+)", (ROOT / "Dockerfile").read_text()) == ["${BASE}"] * 2
    # Merged over the other file, as compose does, each image has the digest of now.
    for name, service in SERVICES.items():
        if "build" in service:
            assert written[name]["build"]["args"] == {"BASE": _newest(BASE[0])}
        else:
            assert written[name] == {"image": _newest(service["image"])}
    assert set(written) == set(SERVICES)
    asked = (tmp_path / "asked").read_text()
    assert "@" not in asked
    assert all(f"{tag}\n" in asked for tag in ("python:3.11-slim", "postgres:17-alpine"))


def test_every_dependency_and_volume_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        sources = {volume.split(":")[0] for volume in service.get("volumes", [])}
        mounted = {source for source in sources if source.startswith("./")}
        assert all((ROOT / source).is_dir() for source in mounted)
        anonymous = {"/var/lib/notifications"}
        assert sources - mounted - anonymous <= set(COMPOSE["volumes"])


def test_only_loopback_is_published() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("service", OURS)
def test_each_name_in_the_environment_is_read_by_somebody(service: str) -> None:
    files = (ROOT / "config" / "settings.py", ROOT / "notifications" / "settings.py")
    sources = "".join(file.read_text() for file in files)
    read = re.findall(r'env\.\w+\(\s*"(\w+)"', sources)
    flower = {f"FLOWER_{name.upper()}" for name in default_options}
    assert set(SERVICES[service]["environment"]) <= {*read, *flower, "FLOWER_BASIC_AUTH"}


def test_the_example_has_each_variable_and_no_other() -> None:
    used = {match[1] for match in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())}
    assert set(_example()) == used


@pytest.mark.slow
def test_a_filled_in_example_passes_the_deployment_checks() -> None:
    values = _example() | FILLED_IN | {"HTTPS": "1", "PROXY_SSL_HEADER": "X-Forwarded-Proto"}
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=os.environ | {"DJANGO_ALLOW_ASYNC_UNSAFE": ""} | _environment("web", values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_an_unfilled_example_is_refused() -> None:
    with pytest.raises(AssertionError, match="has to be set"):
        _environment("web", _example())


def _compose_client() -> list[str]:
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]):
            asked = subprocess.run([*client, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return client
    return []


@pytest.mark.skipif(not _compose_client(), reason="needs a compose client")
def test_the_compose_client_understands_it() -> None:
    subprocess.run(
        [*_compose_client(), "config", "--quiet"],
        cwd=ROOT,
        env=os.environ | _example() | FILLED_IN,
        check=True,
    )


def test_the_image_holds_what_the_commands_need() -> None:
    copied = re.findall(r"^COPY (\S+) \./", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("manage.py", "config", "notifications", "scheduling", "templates_engine"):
        assert name in copied
        assert f"!{name}" in ignored


@pytest.mark.parametrize("job", ["web", "worker", "beat"])
def test_prometheus_scrapes_each_process_where_it_listens(job: str) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    jobs = {found["job_name"]: found for found in config["scrape_configs"]}
    secret = jobs[job]["authorization"]["credentials_file"]
    assert secret == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    assert COMPOSE["secrets"]["metrics_token"] == {"environment": "METRICS_TOKEN"}
    assert "METRICS_TOKEN" in SERVICES[job]["environment"]
    if job == "web":
        assert jobs[job]["static_configs"] == [{"targets": ["web:8000"]}]
        assert "web" in SERVICES["web"]["environment"]["ALLOWED_HOSTS"].split(",")
        return
    (where,) = jobs[job]["dns_sd_configs"]
    assert where["names"] == [job]
    assert where["port"] == SERVICES[job]["environment"]["METRICS_PORT"]


def test_prometheus_hands_its_alerts_to_the_alertmanager_beside_it() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (told,) = config["alerting"]["alertmanagers"]
    (target,) = told["static_configs"][0]["targets"]
    service, _, port = target.partition(":")
    assert SERVICES[service]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"./deploy/{service}:/etc/{service}:ro" in SERVICES[service]["volumes"]
    assert (ROOT / "deploy" / service / "alertmanager.yml").is_file()
