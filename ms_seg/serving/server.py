"""The app on a socket."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ms_seg.serving.limits import Limits

_MORE_CONNECTIONS = 64  # than requests that may wait: for the page's files, and for those that are told to wait


def listen(host: str, port: int) -> socket.socket:
    """A socket on that address. Raises OSError, saying which, where it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{host}, port {port}, cannot be served on: {reason}; pass another --host or --port") from None


def make_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """A server whose `run(sockets=[...])` serves the app until Ctrl-C, or until its `should_exit` is set."""

    class Impatient(H11Protocol):
        """A connection that is closed unless its request's first lines are there soon: uvicorn waits for ever."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._deadline = self.loop.call_later(limits.header_seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._deadline.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            if self.cycle is None:
                self.transport.abort()

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Impatient,
            ws="none",
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=limits.waiting + _MORE_CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
    )
