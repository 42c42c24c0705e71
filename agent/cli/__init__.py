"""The command line: one file for each command."""

import os
import sys

# Bars of libraries would mix with ours; must be set before any of them is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

INTERRUPTED = 130


def main() -> None:
    """Entry point of the `whyrec` command."""
    try:
        from agent.cli.app import app

        app()
    except KeyboardInterrupt:  # pressed while Python was still importing
        sys.exit(INTERRUPTED)
