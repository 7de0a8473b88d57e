"""Signed webhooks as Standard Webhooks describes them (api.md; quality Q14)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpcore
import httpx
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from nearcast.channels.addresses import Resolver, addresses_of, look_up
from nearcast.channels.base import ChannelError, Letter

MAX_ANSWER_BYTES = 64 << 10  # quality Q14
MAX_SECONDS = 15.0  # quality Q14: from the first packet to the last byte read
#: refusals that pass: time-out, conflict, too early, too many requests
_PASSING_REFUSALS = frozenset({408, 409, 425, 429})
_USER_AGENT = "Nearcast-Webhooks/1"


class WebhookChannel:
    """Posts letters to endpoints: signed, to public addresses only, no redirects, bounded answers.

    Args:
        allow_private: let calls reach this machine and its network, for tests and the demo.
        resolve: the name resolver.
        max_seconds: one attempt may take so long in all, looking up the name not counted.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolver = look_up,
        max_seconds: float = MAX_SECONDS,
        verify: Any = True,
    ) -> None:
        self._max_seconds = max_seconds
        self._dialler = _Dialler(allow_private=allow_private, resolve=resolve)
        self._client = httpx.Client(
            transport=_Transport(self._dialler, verify=verify),
            timeout=max_seconds,
            follow_redirects=False,
            trust_env=False,  # a proxy would dial an address that we have not checked
            headers={"user-agent": _USER_AGENT, "accept-encoding": "identity"},
        )

    def send(self, letter: Letter) -> int:
        """Post a letter; returns the endpoint's 2xx status.

        Raises:
            ChannelError: no answer, a redirect or a refusal. Only 4xx other than 408, 409, 425, 429,
                an address that is not public and a URL that is none are permanent.
        """
        body = json.dumps(letter.content, ensure_ascii=False, separators=(",", ":"))
        headers = _signed(letter, body, datetime.now(UTC))
        self._dialler.start(self._max_seconds)
        try:
            with self._client.stream(
                "POST", letter.address, content=body.encode(), headers=headers
            ) as answer:
                _read_some(answer)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ChannelError(f"This is no address to post to: {error}.", permanent=True) from error
        except httpx.TimeoutException as error:
            message = f"No complete answer within {self._max_seconds:g} s."
            raise ChannelError(message) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise ChannelError(f"The connection failed: {type(error).__name__}: {error}") from error
        return _judged(answer)

    def close(self) -> None:
        """Close the connections kept open."""
        self._client.close()


def _signed(letter: Letter, body: str, at: datetime) -> dict[str, str]:
    """The three headers of Standard Webhooks; the time is this attempt's, by the wall clock."""
    try:
        signature = Webhook(letter.secret).sign(letter.key, at, body)
    except (ValueError, EmptyWebhookSecretError) as error:
        message = "The endpoint's secret cannot sign; give it a new one: whsec_ and base64."
        raise ChannelError(message, permanent=True) from error
    return {
        "content-type": "application/json",
        "webhook-id": letter.key,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def _read_some(answer: httpx.Response) -> None:
    """Read the answer up to the bound, so that the connection may be used again; keep nothing."""
    size = 0
    for part in answer.iter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            return


def _judged(answer: httpx.Response) -> int:
    status = answer.status_code
    if answer.is_success:
        return status
    if answer.is_redirect or 300 <= status < 400:
        raise ChannelError(
            f"The endpoint redirects (HTTP {status}), and redirects are not followed. "
            "Give the address that it leads to.",
            status=status,
        )
    raise ChannelError(
        f"The endpoint answered HTTP {status}.",
        permanent=400 <= status < 500 and status not in _PASSING_REFUSALS,
        status=status,
        retry_after_s=_seconds(answer.headers.get("retry-after", "")),
    )


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds; its other form, a date, is not used: our clocks may differ."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool that dials by our own dialler; httpx has no argument for it."""

    def __init__(self, dialler: _Dialler, *, verify: Any) -> None:
        context = httpx.create_ssl_context(verify=verify)  # SSL_CERT_FILE may name a private CA
        super().__init__(verify=context)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=5.0,
            network_backend=dialler,
        )


class _Dialler(httpcore.NetworkBackend):
    """Opens connections to checked addresses, and holds each thread's send to its deadline.

    The name is resolved once, and the address that was checked is the one dialled. The Host header
    and TLS keep the name, because nothing above knows of the address.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolver) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._tcp = httpcore.SyncBackend()
        self._of_thread = threading.local()

    def start(self, seconds: float) -> None:
        """This thread's send begins now and must end in time."""
        self._of_thread.until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left to this thread's send; raises a time-out when it is over."""
        seconds: float = self._of_thread.until - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("the time for this message is over")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try the checked addresses of a host in turn."""
        found = addresses_of(host, port, allow_private=self._allow_private, resolve=self._resolve)
        self.start(timeout if timeout is not None else MAX_SECONDS)
        for address in found[:-1]:
            try:
                return self._dial(address, port, self.left() / 2)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._dial(found[-1], port, self.left())

    def _dial(self, address: str, port: int, timeout: float) -> httpcore.NetworkStream:
        stream = self._tcp.connect_tcp(address, port, timeout=timeout, socket_options=[])
        return _Bounded(stream, self.left)


class _Bounded(httpcore.NetworkStream):
    """A stream whose every step gets what is left of the whole, so that drops cannot add up."""

    def __init__(self, stream: httpcore.NetworkStream, left: Callable[[], float]) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes, or a time-out when the whole is over."""
        return self._stream.read(max_bytes, timeout=self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of the buffer, in pieces."""
        for at in range(0, len(buffer), 16_384):
            self._stream.write(buffer[at : at + 16_384], timeout=self._left())

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same stream inside TLS."""
        inner = self._stream.start_tls(ssl_context, server_hostname, timeout=self._left())
        return _Bounded(inner, self._left)

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """What the stream below knows."""
        return self._stream.get_extra_info(info)
