"""Mail addresses and senders: one form to keep, one form for the wire."""

from typing import Any

import pytest

from notifications.channels import addresses
from notifications.channels.addresses import BadAddress


@pytest.mark.parametrize(
    ("given", "kept", "wired"),
    [
        ("Ada@Example.ORG", "Ada@example.org", "Ada@example.org"),
        ("ada@bücher.example", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("a@faß.example", "a@faß.example", "a@xn--fa-hia.example"),
        ("a@\uff42.co", "a@b.co", "a@b.co"),
        ("a@例え。jp", "a@例え.jp", "a@xn--r8jz45g.jp"),
        ("a@example.org\u200b", "a@example.org", "a@example.org"),
        ("a@b.co\u2028", "a@b.co", "a@b.co"),
        ("\u00a0\u200e\ufeffa@b.co\u200f\u202c\r\n", "a@b.co", "a@b.co"),
        ("jo\u0308rg@example.org", "jörg@example.org", "jörg@example.org"),
        ('"a b"@example.org', '"a b"@example.org', '"a b"@example.org'),
        ('"ada"@example.org', "ada@example.org", "ada@example.org"),
        (r'"a\d\a"@Example.org', "ada@example.org", "ada@example.org"),
        ('"ada.b+c"@example.org', "ada.b+c@example.org", "ada.b+c@example.org"),
        (r'"a\ b"@example.org', '"a b"@example.org', '"a b"@example.org'),
        (r'"a\"\\b"@example.org', r'"a\"\\b"@example.org', r'"a\"\\b"@example.org'),
        ('"a@b"@example.org', '"a@b"@example.org', '"a@b"@example.org'),
        ('"a..b"@example.org', '"a..b"@example.org', '"a..b"@example.org'),
        ('""@example.org', '""@example.org', '""@example.org'),
        ('"jo\\\u0308rg"@example.org', "jörg@example.org", "jörg@example.org"),
        ("\uff02ada\uff02@example.org", "ada@example.org", "ada@example.org"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("root@localhost", "root@localhost", "root@localhost"),
    ],
)
def test_an_address_has_one_form_to_keep_and_one_for_servers(
    given: str, kept: str, wired: str
) -> None:
    assert addresses.canonical(given) == kept
    assert addresses.canonical(kept) == kept
    assert addresses.wire(kept) == wired


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("a\u200bb@example.org", "U\\+200B ZERO WIDTH SPACE"),
        ("a@exam\u00adple.org", "U\\+00AD SOFT HYPHEN"),
        ("a@ex\u202eample.org", "U\\+202E"),
        ("a\u3164@example.org", "U\\+3164 HANGUL FILLER"),
        ('"a\x01b"@example.org', "U\\+0001"),
        ('"a\\\u200bb"@example.org', "U\\+200B ZERO WIDTH SPACE"),
        ("a@example.org\nBcc: eve", "U\\+000A"),
        ("a b@example.org", "It holds a blank"),
        ("a@example.org (Ada)", "It holds a blank"),
        ("A <a@example.org>", "It holds a blank"),
        ("a b\u202e@example.org", "U\\+202E"),
        ("a@b \u202ec.example", "U\\+202E"),
        ("ada", "no name or no domain"),
        ("@example.org", "no name or no domain"),
        ("a@b", "two parts"),
        ("a@1.2.3.4", "must not be a number"),
        ("a..b@example.org", "empty part"),
        ("a@b@example.org", "more than one @"),
        ("a@b.example, c@example.org", "one address"),
        ("a@-b.example", "IDNA"),
        ("a@[::1]", "IP address"),
        ("a" * 65 + "@example.org", "64 bytes"),
        ("ö" * 33 + "@example.org", "64 bytes"),
        ("a@" + ".".join(["b" * 60] * 5) + ".org", "254 bytes"),
    ],
)
def test_what_no_server_could_take_is_refused_by_name(given: str, complaint: str) -> None:
    with pytest.raises(BadAddress, match=complaint):
        addresses.canonical(given)


@pytest.mark.parametrize(
    ("given", "name", "address"),
    [
        ("Shop, Inc. <shop@shop.example>", "Shop, Inc.", "shop@shop.example"),
        ('"Shop \\"A\\"" <shop@shop.example>', 'Shop "A"', "shop@shop.example"),
        ("Müller, Shop & Co <a@b.example>", "Müller, Shop & Co", "a@b.example"),
        ("shop@bücher.example", "", "shop@xn--bcher-kva.example"),
        ("<shop@shop.example>", "", "shop@shop.example"),
        ("\u200fAda <shop@shop.example>\u200f", "Ada", "shop@shop.example"),
        (
            "张三 \uff1cshop@shop\uff0eexample\uff1e",
            "张三",
            "shop@shop.example",
        ),
    ],
)
def test_a_sender_needs_no_quotes(given: str, name: str, address: str) -> None:
    assert addresses.sender(given) == (name, address)


@pytest.mark.parametrize(
    "given",
    [
        *("", "Shop", "Shop <>", "Shop <shop>", "Shop <a@b.example", "<a@b.example> Shop"),
        "Shop\nBcc: x@y.example <shop@shop.example>",
        "A <a@b.example>, B <b@b.example>",
        "jörg@example.org",
    ],
)
def test_what_is_not_one_sender_is_refused(given: Any) -> None:
    with pytest.raises(BadAddress):
        addresses.sender(given)
