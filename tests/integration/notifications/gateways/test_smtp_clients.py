"""Programs that others wrote hand their mail over to the SMTP server."""

import json
import shutil
import smtplib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifications.models import Notification
from tests.integration.notifications.gateways.handed_over import SENDER, mail
from tests.servers import postfix
from tests.servers.smtp import SmtpServer


def why_no_swaks() -> str:
    """Say why there is no swaks that speaks TLS, ``""`` if there is one."""
    if not (shutil.which("swaks") and shutil.which("perl")):
        return "needs Debian's package swaks"
    speaks_tls = subprocess.run(["perl", "-MNet::SSLeay", "-e1"], capture_output=True, check=False)
    return "needs Debian's package libnet-ssleay-perl" if speaks_tls.returncode else ""


@pytest.mark.skipif(bool(why_no_swaks()), reason=why_no_swaks())
def test_swaks_hands_over_a_mail_in_plain_and_over_starttls(
    start: Callable[..., Any], token: str, certificate: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trusted = ["--tls", "--tls-verify", "--tls-ca-path", str(tmp_path / "authority.pem")]
    for port, mechanism, tls in (
        (start(), "PLAIN", []),
        (start(certificate=certificate), "LOGIN", trusted),
    ):
        done = subprocess.run(
            [
                *("swaks", "--server", f"localhost:{port}", "--protocol", "ESMTP", *tls),
                *("--auth", mechanism, "--auth-user", "legacy", "--auth-password", token),
                *("--from", SENDER, "--to", "ada@example.org,bob@example.org"),
            ],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        assert b"250 2.0.0 Accepted" in done.stdout
    recipients = Notification.objects.order_by("recipient").values_list("recipient", flat=True)
    assert list(recipients) == ["ada@example.org"] * 2 + ["bob@example.org"] * 2


NODEMAILER = """
const nodemailer = require('nodemailer');
const [port, token, authority, sender] = process.argv.slice(1);
const program = nodemailer.createTransport({
  host: 'localhost', port, requireTLS: true, auth: {user: 'legacy', pass: token},
  tls: {ca: require('fs').readFileSync(authority)}, pool: true, maxConnections: 2,
});
(async () => {
  const mail = {from: `Billing <${sender}>`, subject: 'Grüße', text: 'Dear Ada\\n.\\n',
    html: '<p>Dear Ada</p>', attachments: [{filename: 'März.pdf', content: Buffer.from('%PDF')}]};
  const sent = await Promise.all(['ada', 'bob', 'carol'].map(name => program.sendMail(
    {...mail, to: `${name}@example.org`, headers: {'X-Notification-Priority': 'high'}})));
  let refused;
  try { await program.sendMail({...mail, from: 'ceo@bank.example', to: 'ada@example.org'}); }
  catch (error) { refused = error.responseCode; }
  program.close();
  console.log(JSON.stringify({said: sent.map(one => one.response), refused}));
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.fixture
def nodemailer(npm_install: Callable[[str], Path]) -> Path:
    """Fetch nodemailer into a folder, and return the folder."""
    return npm_install("nodemailer@7")


def test_nodemailer_hands_over_mails_from_a_pool_over_starttls(
    start: Callable[..., Any],
    token: str,
    certificate: str,
    authority: trustme.CA,
    nodemailer: Any,
    deliver: Callable[..., Any],
    smtp_server: SmtpServer,
) -> None:
    authority.cert_pem.write_to_path(str(nodemailer / "authority.pem"))
    port = start(certificate=certificate)
    run = subprocess.run(
        ["node", "-e", NODEMAILER, str(port), token, "authority.pem", SENDER],
        cwd=nodemailer,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert all(line.startswith("250 2.0.0 Accepted") for line in told["said"])
    assert told["refused"] == 550
    rows = list(Notification.objects.order_by("recipient"))
    assert [row.recipient for row in rows] == [f"{n}@example.org" for n in ("ada", "bob", "carol")]
    assert {(row.subject, row.priority) for row in rows} == {("Grüße", "high")}
    deliver(*rows)
    for got in smtp_server.messages:
        plain = got.message.get_body(("plain",))
        assert plain is not None
        assert plain.get_content().split() == ["Dear", "Ada", "."]
        assert [attachment.get_filename() for attachment in got.message.iter_attachments()] == [
            "März.pdf"
        ]


@pytest.mark.skipif(bool(postfix.why_without_login()), reason=postfix.why_without_login())
def test_a_postfix_hands_its_mail_on_to_us(
    start: Callable[..., Any], token: str, wait_until: Callable[..., Any]
) -> None:
    server = postfix.PostfixServer(start(), login=("legacy", token)).start()
    try:
        with smtplib.SMTP("127.0.0.1", server.port) as session:
            session.ehlo("legacy.example.org")
            session.send_message(mail(), SENDER, ["ada@example.org", "bob@example.org"])
        wait_until(lambda: Notification.objects.count() == 2)
    finally:
        server.stop()
    assert {row.subject for row in Notification.objects.all()} == {"Grüße"}
