"""`whyrec mcp`."""

import os
import signal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import INTERRUPTED
from agent.cli.console import complain, say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace
from retrieval.errors import InputError

if TYPE_CHECKING:
    from agent.recommender import Recommender

PACKAGES = ("mcp", "mcp_types")  # the second comes with the first from its version 2 on


def mcp(
    port: Annotated[
        int | None,
        typer.Option(
            "--http",
            min=0,
            max=65_535,
            metavar="PORT",
            help="Serve over HTTP on this machine instead, at this port (0: any free one). Clients need the bearer "
            "token in WHYREC_MCP_TOKEN; without that variable a new one is made and printed.",
            show_default=False,
        ),
    ] = None,
    allow_feedback: Annotated[
        bool, typer.Option("--allow-feedback", help="A tool more, which keeps what users say of items.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Let other agents use whyrec as tools, by the Model Context Protocol: recommend, explain, similar and search.

    A client starts it and talks to it on standard input and output. The tools change nothing unless that is allowed.
    Workspace and models are loaded at the first call and then kept: start it anew when the workspace has changed.

    Example:  whyrec mcp --workspace shop
    """
    if any(find_spec(package) is None for package in PACKAGES):
        raise InputError("whyrec mcp needs the package mcp, version 2 or newer: pip install 'whyrec[mcp]'")
    from agent.mcp.feedback import feedback_tool
    from agent.mcp.server import make_server
    from agent.mcp.tools import TOOLS
    from agent.mcp.transports import serve_http, serve_stdio, token_from
    from agent.reactions import Reactions

    @cache
    def recommender() -> "Recommender":
        return _opened(workspace)

    def reactions() -> "Reactions":
        opened = open_workspace(workspace)
        return Reactions(opened.workspace, opened.settings)

    tools = [*TOOLS, feedback_tool(reactions)] if allow_feedback else TOOLS
    server = make_server(tools, recommender)
    signal.signal(signal.SIGINT, _leave)
    if port is None:
        serve_stdio(server)
        return
    token, new = token_from()
    if new:
        say(f"Token: {token}")
    serve_http(server, port, token, say)


def _opened(root: Path) -> "Recommender":
    from agent.models import Models
    from agent.recommender import Recommender, serving

    opened = open_workspace(root)
    live = serving(opened.workspace, opened.settings)
    return Recommender(opened.workspace, opened.settings, Models(opened.settings, say), live)


def _leave(*_: object) -> None:
    """End at once: threads that wait for a client's next line, or compute, can be ended in no other way."""
    complain("interrupted")
    os._exit(INTERRUPTED)
