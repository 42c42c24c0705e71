"""Write docs/cli.md from the commands' own help; ``--check`` fails when the file is out of date."""

import os
import sys
from pathlib import Path

os.environ |= {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}

from typer.testing import CliRunner

from agent.cli.app import app

TARGET = Path(__file__).with_name("cli.md")
HEAD = """# Command reference

Written by `make docs` from the commands' own help; do not edit.
Data go to standard output, messages and progress to standard error. Exit codes: 0 done, 1 an error in one line,
2 wrong usage, 130 interrupted.
"""


def reference() -> str:
    """The whole page."""
    names = [[], *([command.name or command.callback.__name__] for command in app.registered_commands)]
    for group in app.registered_groups:
        below = group.typer_instance.registered_commands
        names += [[group.name]] if group.typer_instance.info.invoke_without_command else []
        names += [[group.name, command.name or command.callback.__name__] for command in below]
    sections = [HEAD]
    for name in names:
        result = CliRunner().invoke(app, [*name, "--help"], prog_name="whyrec")
        if result.exit_code != 0:
            sys.exit(f"whyrec {' '.join(name)} --help failed: {result.output}")
        lines = [line.rstrip() for line in result.output.strip("\n").splitlines()]
        sections.append(f"## whyrec {' '.join(name)}".rstrip() + "\n\n```text\n" + "\n".join(lines).strip() + "\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    if "--check" in sys.argv:
        if not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != reference():
            sys.exit(f"{TARGET} is out of date; run: make docs")
    else:
        TARGET.write_text(reference(), encoding="utf-8")
