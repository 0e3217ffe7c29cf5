"""Headers in letters outside ASCII, and what a mail program reads of them in ASCII."""

import email
from email import policy
from typing import Any

import pytest

from notifications.core.errors import InvalidField
from notifications.gateways.ascii_headers import in_ascii


def read(head: bytes) -> Any:
    return email.message_from_bytes(head + b"\r\n", policy=policy.default)


@pytest.mark.parametrize("charset", ["utf-8", "cp1252"])
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Subject: Grüße aus Köln", "Grüße aus Köln"),
        ("Subject: Grüße\r\n\taus Köln", "Grüße aus Köln"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Köln", "Grüße aus Köln"),
        ("Subject: " + "Grüße " * 130 + "x", "Grüße " * 130 + "x"),
        ("Subject: " + "x" * 950 + "ü", "x" * 950 + "ü"),
        ("X-Comment: Preis: 5 €", "Preis: 5 €"),
        ("From: Müller Shop <shop@example.org>", "Müller Shop <shop@example.org>"),
        ("From: shop@example.org", "shop@example.org"),
        (r'To: "Mül\"ler, @ <Co>" <a@example.org>', r'"Mül\"ler, @ <Co>" <a@example.org>'),
        (
            "Cc: Jürgen von Ö <a@example.org>, bob@example.org,\r\n Bob ß <b@example.org>",
            "Jürgen von Ö <a@example.org>, bob@example.org, Bob ß <b@example.org>",
        ),
        ("Cc: " + ", ".join(["Ö <a@example.org>"] * 50), ", ".join(["Ö <a@example.org>"] * 50)),
        ("Cc: Küste: Jörg <j@example.org>;", "Küste: Jörg <j@example.org>;"),
        ("Cc: a@x.example,Jö<b@x.example>", "a@x.example, Jö <b@x.example>"),
        ("Reply-To: Ö <a@bücher.example>", "Ö <a@xn--bcher-kva.example>"),
        ("Reply-To: a@bücher.example, b@x.example", "a@xn--bcher-kva.example, b@x.example"),
        ("Reply-To: =?utf-8?q?J=C3=B6?= Ö <a@x.example>", "Jö Ö <a@x.example>"),
    ],
)
def test_text_and_names_are_read_as_they_were_meant(line: str, shown: str, charset: str) -> None:
    name = line.partition(":")[0]
    written = in_ascii(b"X-Before: 1\r\n" + f"{line}\r\n".encode(charset) + b"X-After:  2\r\n")
    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 998
    assert written.startswith(b"X-Before: 1\r\n")
    assert written.endswith(b"\r\nX-After:  2\r\n")
    assert str(read(written)[name]) == shown
    assert not read(written)[name].defects


@pytest.mark.parametrize(
    "header", ["Content-Type: text/plain; name=ü.txt", 'Content-Disposition: x; filename="ü.txt"']
)
def test_a_file_keeps_its_name(header: str) -> None:
    written = in_ascii(f"{header}\r\n".encode())
    assert written.isascii()
    assert read(written).get_filename() == "ü.txt"


@pytest.mark.parametrize(
    "head",
    [
        b"Subject: Hello\r\nX-Odd:  two  blanks\r\n\tand a tab\r\n",
        b"",
        "To: jörg@example.org\r\n".encode(),
        "Message-ID: <ü@example.org>\r\n".encode(),
    ],
)
def test_ascii_and_a_name_before_an_at_sign_stay_as_they_were_written(head: bytes) -> None:
    assert in_ascii(head) == head


@pytest.mark.parametrize("head", ["Grüße: x\r\n", "Grüße\r\n"])
def test_a_header_whose_name_is_not_ascii_is_refused(head: str) -> None:
    with pytest.raises(InvalidField, match="name of a header must be ASCII"):
        in_ascii(head.encode())
