"""The webhook channel against a real receiver: signatures, bounds, and where it refuses to go."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from nearcast.channels.addresses import AddressRefused, addresses_of, is_public
from nearcast.channels.base import ChannelError, Letter
from nearcast.channels.webhook import WebhookChannel
from tests.receiver import Receiver, receiving, status

SECRET = "whsec_" + "bmVhcmNhc3QgdGVzdCBzZWNyZXQgb2YgMzIgYnl0ZXM="


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as there:
        yield there


@pytest.fixture
def channel() -> Iterator[WebhookChannel]:
    opened = WebhookChannel(allow_private=True, max_seconds=1.5)
    yield opened
    opened.close()


def _letter(url: str, content: dict[str, Any] | None = None) -> Letter:
    return Letter(key="dlv_7", address=url, secret=SECRET, content=content or {"title": "강남점 🎁"})


def test_a_letter_arrives_signed_under_its_key(receiver: Receiver, channel: WebhookChannel) -> None:
    assert channel.send(_letter(receiver.url)) == 200
    headers, body, path = receiver.got[0]
    assert Webhook(SECRET).verify(body, headers) == {"title": "강남점 🎁"}
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["webhook-id"] == "dlv_7"
    assert lower["content-type"] == "application/json"
    assert path == "/hook"


def test_a_changed_body_or_another_secret_does_not_verify(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    channel.send(_letter(receiver.url))
    headers, body, _ = receiver.got[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"title", b"tit1e"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "YW5vdGhlciBzZWNyZXQ=").verify(body, headers)


def test_a_second_letter_goes_over_the_same_connection(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    ports: list[int] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        status(204)(handler)

    receiver.answer = note
    assert [channel.send(_letter(receiver.url)) for _ in range(3)] == [204] * 3
    assert len(set(ports)) == 1


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        (400, True),
        (401, True),
        (404, True),
        (410, True),
        (413, True),
        (422, True),
        (408, False),
        (409, False),
        (425, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
    ],
)
def test_which_refusals_are_for_good(
    receiver: Receiver, channel: WebhookChannel, code: int, permanent: bool
) -> None:
    receiver.answer = status(code)
    with pytest.raises(ChannelError) as caught:
        channel.send(_letter(receiver.url))
    assert (caught.value.status, caught.value.permanent) == (code, permanent)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-5", None), ("", None)],
)
def test_retry_after_is_read(
    receiver: Receiver, channel: WebhookChannel, text: str, seconds: float | None
) -> None:
    receiver.answer = status(429, {"retry-after": text})
    with pytest.raises(ChannelError) as caught:
        channel.send(_letter(receiver.url))
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, channel: WebhookChannel, code: int) -> None:
    receiver.answer = status(code, {"location": receiver.url + "/elsewhere"})
    with pytest.raises(ChannelError, match="redirect") as caught:
        channel.send(_letter(receiver.url))
    assert len(receiver.got) == 1
    assert caught.value.status == code


def test_a_huge_answer_is_read_no_further_than_the_bound(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    written: list[int] = []
    over = threading.Event()

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(1 << 30))
        handler.end_headers()
        try:
            for _ in range(16_384):
                written.append(handler.wfile.write(b"x" * 65_536))
        except OSError:
            handler.close_connection = True
        over.set()

    receiver.answer = flood
    assert channel.send(_letter(receiver.url)) == 200
    assert over.wait(10)
    assert sum(written) < 1 << 28  # what lay in the buffers of the kernel, not the gigabyte


@pytest.mark.parametrize("where", ["before the headers", "in the headers", "in the body", "never"])
def test_drops_of_an_answer_cannot_hold_a_worker(
    receiver: Receiver, channel: WebhookChannel, where: str
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        start = {
            "before the headers": b"",
            "in the headers": b"HTTP/1.1 200 OK\r\n",
            "in the body": b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n",
            "never": b"",
        }[where]
        endless = {"before the headers": b"HTTP/1.1 100 Continue\r\n\r\n", "never": b""}
        handler.close_connection = True
        try:
            handler.wfile.write(start)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                handler.wfile.write(endless.get(where, b"x"))
                time.sleep(0.01)
        except OSError:
            return

    receiver.answer = drip
    begun = time.monotonic()
    with pytest.raises(ChannelError, match=r"within 1\.5 s") as caught:
        channel.send(_letter(receiver.url))
    assert time.monotonic() - begun < 3.5
    assert not caught.value.permanent


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_a"])
def test_a_secret_that_cannot_sign_is_refused_for_good(
    receiver: Receiver, channel: WebhookChannel, secret: str
) -> None:
    letter = Letter(key="dlv_7", address=receiver.url, secret=secret, content={})
    with pytest.raises(ChannelError, match="secret") as caught:
        channel.send(letter)
    assert caught.value.permanent
    assert receiver.got == []


def test_an_endpoint_that_is_down_may_come_back(channel: WebhookChannel) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ChannelError) as caught:
        channel.send(_letter(f"http://127.0.0.1:{port}/"))
    assert not caught.value.permanent
    assert caught.value.status is None


def test_an_endpoint_that_hangs_up_may_come_back(receiver: Receiver, channel: WebhookChannel) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    receiver.answer = hang_up
    with pytest.raises(ChannelError) as caught:
        channel.send(_letter(receiver.url))
    assert not caught.value.permanent


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "gopher://x/", "http://", "x"]
)
def test_what_is_no_web_address_is_refused_for_good(channel: WebhookChannel, url: str) -> None:
    with pytest.raises(ChannelError) as caught:
        channel.send(_letter(url))
    assert caught.value.permanent


def test_the_checked_address_is_dialled_and_the_name_is_kept(receiver: Receiver) -> None:
    """A resolver that answers otherwise the second time (DNS rebinding) is asked only once."""
    port = receiver.port
    asked: list[str] = []

    def resolve(host: str, _: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    channel = WebhookChannel(allow_private=True, resolve=resolve)
    channel.send(_letter(f"http://hooks.shop.example:{port}/a?b=c"))
    channel.close()
    headers, _, path = receiver.got[0]
    assert headers["Host"] == f"hooks.shop.example:{port}"
    assert path == "/a?b=c"
    assert asked == ["hooks.shop.example"]


def test_the_next_address_is_tried_when_one_is_dead(receiver: Receiver) -> None:
    port = receiver.port

    def resolve(_: str, __: int) -> list[tuple[Any, ...]]:
        # ::1 has no listener on this port
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    channel = WebhookChannel(allow_private=True, resolve=resolve)
    assert channel.send(_letter(f"http://hooks.shop.example:{port}/")) == 200
    channel.close()


def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    channel = WebhookChannel(allow_private=True)
    assert channel.send(_letter(receiver.url)) == 200
    channel.close()


def test_tls_asks_for_the_name_and_checks_the_certificate(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(cert),
            "-days",
            "2",
            "-subj",
            "/CN=hooks.shop.example",
            "-addext",
            "subjectAltName=DNS:hooks.shop.example",
        ],
        check=True,
        capture_output=True,
    )
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.sni_callback = lambda _, name, __: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        for _ in range(2):
            raw, _ = listener.accept()
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    tls.recv(65_536)
                    tls.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def resolve(_: str, port: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    trusting = ssl.create_default_context(cafile=str(cert))
    channel = WebhookChannel(allow_private=True, resolve=resolve, verify=trusting)
    assert channel.send(_letter(f"https://hooks.shop.example:{port}/")) == 204
    with pytest.raises(ChannelError, match=r"CERTIFICATE|certificate"):
        channel.send(_letter(f"https://other.example:{port}/"))
    channel.close()
    thread.join(10)
    listener.close()
    assert names == ["hooks.shop.example", "other.example"]


# --- addresses --------------------------------------------------------------------------------------

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "1fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2606:4700:4700::1111%eth0",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "168.63.129.15",
    "::ffff:8.8.8.8",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe:ffff::1",
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_neighbours_of_the_special_blocks_pass(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "017700000001",
        "10.1",
        "167772161",
        "012.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "::1",
        "::ffff:7f00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "::127.0.0.1",
        "169.254.169.254",
        "2852039166",
    ],
)
def test_a_number_in_any_form_is_judged_by_where_it_leads(host: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        addresses_of(host, 80, allow_private=False)
    assert caught.value.permanent


def test_one_private_address_among_public_ones_spoils_a_name() -> None:
    def resolve(_: str, port: int) -> list[tuple[Any, ...]]:
        return [(2, 1, 6, "", (text, port)) for text in ("8.8.8.8", "10.0.0.1")]

    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        addresses_of("mixed.example", 80, allow_private=False, resolve=resolve)


def test_a_name_that_cannot_be_resolved_may_be_later() -> None:
    def resolve(_: str, __: int) -> list[tuple[Any, ...]]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    with pytest.raises(ChannelError, match="cannot be resolved") as caught:
        addresses_of("gone.example", 80, allow_private=False, resolve=resolve)
    assert not caught.value.permanent


def test_no_packet_leaves_for_a_private_receiver(receiver: Receiver) -> None:
    channel = WebhookChannel()
    with pytest.raises(AddressRefused):
        channel.send(_letter(receiver.url))
    with pytest.raises(AddressRefused):
        channel.send(_letter(receiver.url.replace("127.0.0.1", "2130706433")))
    with pytest.raises(AddressRefused):
        channel.send(_letter(receiver.url.replace("127.0.0.1", "[::ffff:127.0.0.1]")))
    channel.close()
    assert receiver.got == []
