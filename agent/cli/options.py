"""Options that several commands share, and opening the workspace they name."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import Format
from agent.settings import Settings, load_settings
from retrieval.data.workspace import Workspace
from retrieval.errors import DEFAULT_WORKSPACE

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="WHYREC_WORKSPACE", help="The workspace folder.")
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the rows.")]
SeedOption = Annotated[int, typer.Option(min=0, help="For the split and for what is drawn.")]
CountOption = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")]
WhereOption = Annotated[
    str, typer.Option("--where", help="Keep only items that fit, such as 'year >= 1990 and genres ~ Comedy'.")
]


@dataclass(frozen=True)
class Opened:
    """A workspace with its settings."""

    workspace: Workspace
    settings: Settings


class ProfileChoice(StrEnum):
    """Which precisions models have."""

    default = "default"
    small = "small"


ProfileOption = Annotated[
    ProfileChoice | None,
    typer.Option(help="small: models as whyrec compress chose.", show_default="as in the settings"),
]


def open_workspace(root: Path, profile: ProfileChoice | None = None) -> Opened:
    """Open the workspace and read its settings; ``profile`` goes before theirs.

    Raises:
        WorkspaceError: there is none, its format is newer, or a setting is wrong.
    """
    workspace = Workspace(root)
    return Opened(workspace, load_settings(workspace.settings_path, profile.value if profile else None))


__all__ = [
    "DEFAULT_WORKSPACE",
    "CountOption",
    "FormatOption",
    "Opened",
    "ProfileChoice",
    "ProfileOption",
    "SeedOption",
    "WhereOption",
    "WorkspaceOption",
    "open_workspace",
]
