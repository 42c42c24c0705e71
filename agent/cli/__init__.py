"""The command line: one file for each command."""

import os

# Bars of libraries would mix with ours; must be set before any of them is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from agent.cli.app import app


def main() -> None:
    """Entry point of the `whyrec` command."""
    app()


__all__ = ["app", "main"]
