"""A Postfix with all strict switches on a loopback port, where Debian's package is installed.

What it accepts it hands on to the test's own SMTP server, so that a test sees what arrived.
"""

import os
import shutil
import smtplib
import subprocess
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.reaper import temporary_folder

STRICT = {
    "smtpd_helo_required": "yes",
    "smtpd_delay_reject": "yes",
    "smtpd_helo_restrictions": "reject_invalid_helo_hostname,reject_non_fqdn_helo_hostname",
    "smtpd_sender_restrictions": "reject_non_fqdn_sender",
    "smtpd_recipient_restrictions": "reject_non_fqdn_recipient,permit_mynetworks,reject",
    "smtpd_relay_restrictions": "permit_mynetworks,reject",
    "smtpd_data_restrictions": "reject_unauth_pipelining",
    "strict_rfc821_envelopes": "yes",
    "strict_mime_encoding_domain": "yes",
    # Not strict_7bit_headers, which refuses mail by SMTPUTF8, too.
    "strict_8bitmime_body": "yes",
    "strict_smtputf8": "yes",
    "smtpd_forbid_bare_newline": "reject",
    "smtpd_forbid_unauth_pipelining": "yes",
    "smtputf8_enable": "yes",
}
SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
verify unix - - n - 1 verify
postlog unix-dgram n - n - 1 postlogd
"""


def why_absent() -> str:
    """Return why there is no Postfix to be had, ``""`` if there is one."""
    if not shutil.which("postfix"):
        return "needs Debian's package postfix"
    return "" if os.geteuid() == 0 else "Postfix is started by root"


def why_without_login() -> str:
    """Say why there is no Postfix that can log in, ``""`` if there is one."""
    if not list(Path("/usr/lib").glob("*/sasl2/libplain.so")):
        return "needs Debian's package libsasl2-modules"
    return why_absent()


class PostfixServer(ServerProcess):
    """One Postfix; ``onward`` is the port to which it hands everything on.

    ``login`` is the user and the password with which it logs in there.
    """

    def __init__(self, onward: int, login: tuple[str, str] | None = None) -> None:
        super().__init__(temporary_folder("postfix"))
        self.folder.chmod(0o755)
        self._etc = self.folder / "etc"
        queue, data = self.folder / "queue", self.folder / "data"
        for folder in (self._etc, queue, data):
            folder.mkdir()
        shutil.chown(data, "postfix")
        chosen = {
            "compatibility_level": "3.6",
            "queue_directory": queue,
            "data_directory": data,
            "maillog_file": f"{self.folder}/mail.log",
            "maillog_file_prefixes": self.folder,
            "myhostname": "mx.shop.example",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "local_recipient_maps": "",
            "relayhost": f"[127.0.0.1]:{onward}",
            "smtp_tls_security_level": "none",
            **STRICT,
        }
        if login:
            known = f"[127.0.0.1]:{onward} = {login[0]}:{login[1]}"
            chosen |= {
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "noanonymous",
                "smtp_sasl_password_maps": f"inline:{{{{ {known} }}}}",
            }
        text = "".join(f"{name} = {value}\n" for name, value in chosen.items())
        (self._etc / "main.cf").write_text(text)
        (self._etc / "master.cf").write_text(SERVICES.format(port=self.port).lstrip())

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(shutil.which("postfix")), "-c", str(self._etc), "start-fg"]

    def is_ready(self) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5) as client:
                return client.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def stop(self) -> None:
        """Stop the master, which stops its children."""
        subprocess.run([*self.command()[:3], "stop"], check=False, capture_output=True, timeout=20)
        super().stop()
