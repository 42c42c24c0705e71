"""How clients reach the server: standard input and output, or HTTP on this machine with a token."""

import hmac
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from retrieval.errors import InputError

HOST, PATH = "127.0.0.1", "/mcp"
TOKEN = "WHYREC_MCP_TOKEN"  # noqa: S105 - the name of a variable
SHORTEST = 16  # characters of a token


def serve_stdio(server: Server[Any]) -> None:
    """Serve one client until it closes standard input; what is printed meanwhile goes to standard error."""

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(run)


def serve_http(server: Server[Any], port: int, token: str, say: Callable[[str], None]) -> None:
    """Serve clients of this machine that have the token, until the process is interrupted. Port 0: any free one.

    Raises:
        InputError: the port cannot be used.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}); choose another one: --http PORT"
        ) from error
    with listening:
        port = listening.getsockname()[1]
        names = [f"{host}:{port}" for host in (HOST, "localhost")]
        security = TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])
        app = TokenRequired(server.streamable_http_app(streamable_http_path=PATH, transport_security=security), token)
        config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none")
        say(f"Serving at http://{HOST}:{port}{PATH}; Ctrl-C ends it")
        _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: uvicorn would wait for all connections to end."""
        yield


class TokenRequired:
    """Lets only requests through that have ``Authorization: Bearer TOKEN``; others get 401."""

    def __init__(self, app: ASGIApp, token: str):
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] == "http" and not self._has_token(Headers(scope=scope)):
            refused = PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def token_from(environment: Mapping[str, str] = os.environ) -> tuple[str, bool]:
    """The token of the environment, or a new one; and whether it is new.

    Raises:
        InputError: the environment's is short, or cannot stand in a header.
    """
    given = environment.get(TOKEN, "")
    if not given:
        return secrets.token_urlsafe(32), True
    if len(given) < SHORTEST or not (given.isascii() and given.isprintable()) or " " in given:
        raise InputError(
            f"{TOKEN} is no usable token: it takes at least {SHORTEST} ASCII characters without blanks; "
            "without it a new one is made"
        )
    return given, False
