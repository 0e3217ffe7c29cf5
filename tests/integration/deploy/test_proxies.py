"""The proxies of deploy/ before a web with HTTPS=1: pages open, plain HTTP is redirected."""

import re
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from tests.servers.process import free_port
from tests.servers.processes import ROOT, Processes
from tests.servers.tls import Authority

DEPLOY = ROOT / "deploy"
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
CADDY = shutil.which("caddy")
NAME = "notify.example.org"


def nginx(folder: Path, ports: tuple[int, int], web: str, authority: Authority) -> tuple[str, ...]:
    text = (DEPLOY / "nginx" / "notifications.conf").read_text()
    leaf = authority.certificate()
    leaf.private_key_pem.write_to_path(folder / "privkey.pem")
    for number, part in enumerate(leaf.cert_chain_pems):
        part.write_to_path(folder / "fullchain.pem", append=number > 0)
    text = text.replace("/etc/ssl/notify", str(folder)).replace("listen 80;", f"listen {ports[0]};")
    text = text.replace("listen 443", f"listen {ports[1]}").replace("127.0.0.1:8000", web)
    temporary = "".join(
        f"{name}_temp_path {folder};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; user root;"
        f"events {{}} http {{ access_log off; {temporary} {text.replace(NAME, 'localhost')} }}"
    )
    return str(NGINX), "-p", str(folder), "-c", str(config)


def caddy(folder: Path, ports: tuple[int, int], web: str, authority: Authority) -> tuple[str, ...]:
    text = (DEPLOY / "caddy" / "Caddyfile").read_text()
    leaf = authority.certificate()
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "all.pem")
    text = re.sub(
        rf"^{re.escape(NAME)} {{",
        f"localhost {{\n\ttls {folder}/all.pem {folder}/all.pem",
        text,
        flags=re.MULTILINE,
    ).replace("127.0.0.1:8000", web)
    options = f"{{\n\tadmin off\n\thttp_port {ports[0]}\n\thttps_port {ports[1]}\n}}\n"
    (folder / "Caddyfile").write_text(options + text)
    return str(CADDY), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_behind_the_proxy_of_deploy_one_logs_in_by_tls(
    proxy: Any, processes: Processes, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    if not (NGINX if proxy is nginx else CADDY):
        pytest.skip(f"{proxy.__name__} is not here: apt-get install {proxy.__name__}")
    User.objects.create_superuser("ada", "ada@example.org", "a-long-password")
    _, address = processes.web(
        HTTPS="1", PROXY_SSL_HEADER="X-Forwarded-Proto", ALLOWED_HOSTS="localhost,127.0.0.1"
    )
    authority, ports = Authority(), (free_port(), free_port())
    web = address.removeprefix("http://")
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    started = processes.start("proxy", *proxy(tmp_path, ports, web, authority), **home)
    context = ssl.create_default_context(cafile=str(authority.file))
    site = f"https://localhost:{ports[1]}"
    with httpx.Client(verify=context, base_url=site, trust_env=False) as client:

        def answers() -> Any:
            assert started.returncode is None, started.output()
            try:
                return client.get("/healthz/live").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers)
        page = client.get("/admin/login/")
        assert page.status_code == 200
        assert "max-age" in page.headers["Strict-Transport-Security"]
        (token,) = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
        form = {"username": "ada", "password": "a-long-password", "csrfmiddlewaretoken": token}
        done = client.post("/admin/login/", data=form, headers={"Origin": site, "Referer": site})
        assert done.status_code == 302
        assert "Secure" in done.headers["Set-Cookie"]
        assert client.get("/admin/").status_code == 200
        # A client that says by itself that it came by TLS is not believed.
        lie = {"X-Forwarded-Proto": "https"}
        plain = httpx.get(f"http://localhost:{ports[0]}/admin/", headers=lie, trust_env=False)
        assert plain.status_code in (301, 308)
        assert plain.headers["Location"].startswith("https://")
        assert httpx.get(f"{address}/admin/", trust_env=False).status_code == 301
        assert client.get("/metrics").status_code == 404
