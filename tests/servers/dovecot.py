"""A Dovecot with one mailbox on a loopback port, where Debian's package is installed."""

import imaplib
import os
import shutil
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.reaper import temporary_folder

USER, PASSWORD = "bounces", "letmein"


def why_absent() -> str:
    """Say why there is no Dovecot to be had, ``""`` if there is one."""
    if not Path("/usr/lib/dovecot/imap").exists():
        return "needs Debian's package dovecot-imapd"
    return "" if os.geteuid() == 0 else "Dovecot is started by root"


class DovecotServer(ServerProcess):
    """One Dovecot; its user is ``USER`` with ``PASSWORD``."""

    def __init__(self) -> None:
        super().__init__(temporary_folder("dovecot"))
        self.folder.chmod(0o755)
        mail = self.folder / "mail"
        mail.mkdir()
        shutil.chown(mail, "mail", "mail")
        (self.folder / "dovecot.conf").write_text(
            f"""
protocols = imap
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = /dev/stderr
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{mail}
mail_access_groups = mail
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}
}}
first_valid_uid = 1
first_valid_gid = 1
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
        )

    @property
    def url(self) -> str:
        return f"imap://{USER}:{PASSWORD}@127.0.0.1:{self.port}/INBOX"

    def command(self) -> list[str]:
        return [str(shutil.which("dovecot")), "-F", "-c", str(self.folder / "dovecot.conf")]

    def is_ready(self) -> bool:
        try:
            with self.client():
                return True
        except (OSError, imaplib.IMAP4.error):
            return False

    def client(self) -> imaplib.IMAP4:
        """Log in and open the mailbox."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        client.login(USER, PASSWORD)
        client.select()
        return client
