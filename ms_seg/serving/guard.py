"""What every request must be, and what every answer says, before a browser or a program gets to a route."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page loads its own three files and talks to its own server; pictures may be of its own memory. Nothing else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),  # so that the time a request's first lines may take counts for every one
)


class Guard:
    """An app behind a check of who is asked, and from where.

    A page of another site can make a browser ask a server on this machine: under the site's own name, which it lets
    point here (DNS rebinding), or by a request whose answer it cannot read, but whose work is done. So the name that is
    asked for must be an address, "localhost", this machine's or one of `names`; and a request that says which page it
    comes from must come from one of this server.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()):
        self._app = app
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        refused = self._refusal(scope)
        if refused is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, sentence = refused
        content = json.dumps({"error": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send_with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence for a request that goes no further."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        if not self._is_ours(host):
            return 421, "this server goes by its address, or by the name that --host gives it"
        sites = [value for name, value in scope["headers"] if name == b"sec-fetch-site"]
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if scope["method"] not in ("GET", "HEAD") and (
            any(site not in (b"same-origin", b"none") for site in sites)
            or any(origin.lower() != f"http://{host}".lower().encode("latin-1") for origin in origins)
        ):
            return 403, "pages of other sites may not ask this server"
        return None

    def _is_ours(self, host: str) -> bool:
        name, port = _parted(host)
        if port and not (port.isascii() and port.isdecimal()):
            return False
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _parted(host: str) -> tuple[str, str]:
    """A Host header's name or address, without the brackets of IPv6, and its port."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket else "", rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port
