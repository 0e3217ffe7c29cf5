"""What DNS says of the domains that mail is sent as: SPF, DKIM, DMARC, and who takes bounces."""

from collections.abc import Iterator
from typing import Any

import dns.exception
import dns.resolver

from notifications.channels import addresses, return_paths
from notifications.channels.base import Account
from notifications.monitoring.diagnosis.finding import Finding
from notifications.providers import accounts, dkim_signing

ANSWER_SECONDS = 2.0


class NoResolver(Exception):
    """No name server answers, so nothing can be said."""


def examined(resolver: dns.resolver.Resolver) -> Iterator[Finding]:
    """Look at the domains of each SMTP account. Raises ``NoResolver``."""
    seen: set[tuple[str, str]] = set()
    for candidate in accounts.candidates("email"):
        if candidate.account.kind == "smtp" and not candidate.problem:
            for finding in _of_account(resolver, candidate.account):
                if (finding.id, finding.problem) not in seen:
                    seen.add((finding.id, finding.problem))
                    yield finding


def _of_account(resolver: dns.resolver.Resolver, account: Account) -> Iterator[Finding]:
    shown = _domain(addresses.sender(account.settings["from"]).address)
    if not _is_public(shown):
        return
    path = return_paths.of_account(account.settings)
    yield from _spf(resolver, _domain(path) if path else shown)
    yield from _dmarc(resolver, shown)
    if path:
        yield from _mx(resolver, _domain(path))
    key = account.secrets.get("dkim_key")
    if key and not dkim_signing.key_problem(key):  # else the checks of the settings tell
        yield from _dkim(resolver, account, dkim_signing.of_account(account.settings, key, shown))


def _spf(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Finding]:
    records = [text for text in _texts(resolver, domain) if text.lower().startswith("v=spf1")]
    if len(records) != 1:
        yield Finding(
            "mail.spf",
            f"{domain} has {'no' if not records else 'more than one'} SPF record (RFC 7208).",
            f"Add one TXT record to {domain}, like “v=spf1 include:your.mail.server -all”, that "
            "names the servers which send for it.",
            is_error=False,
        )


def _dmarc(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Finding]:
    labels = domain.split(".")
    parents = [".".join(labels[at:]) for at in range(len(labels) - 1)]
    for parent in parents:
        if any(text.startswith("v=DMARC1") for text in _texts(resolver, f"_dmarc.{parent}")):
            return
    yield Finding(
        "mail.dmarc",
        f"{domain} has no DMARC record (RFC 7489), which large mailbox providers ask for.",
        f"Add a TXT record to _dmarc.{domain}, like “v=DMARC1; p=none; rua=mailto:…”.",
        is_error=False,
    )


def _mx(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Finding]:
    if not any(_asked(resolver, domain, kind) for kind in ("MX", "A", "AAAA")):
        yield Finding(
            "mail.return_path",
            f"Nobody takes mail for {domain}, the domain of a return path: bounces are lost.",
            f"Add an MX record to {domain} (docs/email.md, “Mail that comes back”).",
        )


def _dkim(
    resolver: dns.resolver.Resolver, account: Account, signer: dkim_signing.Signer
) -> Iterator[Finding]:
    records = _texts(resolver, signer.record_name)
    if not any(signer.is_of(text) for text in records):
        problem = "holds another key" if records else "does not exist"
        yield Finding(
            "mail.dkim",
            f"The account {account.name} signs its mail, and the record {signer.record_name} "
            f"{problem}: receivers reject the signatures.",
            "Publish the public half of its dkim_key there (docs/email.md, “Signatures”).",
        )


def _texts(resolver: dns.resolver.Resolver, name: str) -> list[str]:
    answers = _asked(resolver, name, "TXT")
    return [b"".join(answer.strings).decode("utf-8", "replace") for answer in answers]


def _asked(resolver: dns.resolver.Resolver, name: str, kind: str) -> list[Any]:
    try:
        return list(resolver.resolve(name, kind, lifetime=ANSWER_SECONDS, search=False))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise NoResolver(type(error).__name__) from error


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _is_public(domain: str) -> bool:
    return "." in domain and not domain.startswith("[") and not domain.endswith(".localhost")
