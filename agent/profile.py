"""The small profile of a workspace: in what precisions its models lose no more than may be lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from retrieval.cf.rounding import TablePrecision
from retrieval.errors import WorkspaceError, first_line
from retrieval.versions import current_version, save_version

PROFILE = Path("models") / "profile"
FORMAT_VERSION = 1
LanguageModelPrecision = Literal["auto", "float32", "bfloat16", "int8", "4bit"]

_CARD = """# Small profile

Made by `{command}`: the language model in {language_model}, the student's tables in {student}. `profile = "small"` in
`whyrec.toml`, or `whyrec recommend --profile small`, serves so. `config.json` has what each way lost on validation.
"""


@dataclass(frozen=True)
class Profile:
    """What takes the place of ``language_model.precision`` and ``student.precision`` of the settings."""

    language_model: LanguageModelPrecision = "auto"
    student: TablePrecision = "float32"

    @classmethod
    def of(cls, precisions: Mapping[str, str]) -> "Profile":
        """From the precision of each part that does not stay as it is."""
        return TypeAdapter(cls).validate_python({part.replace(" ", "_"): name for part, name in precisions.items()})


def save_profile(folder: Path, profile: Profile, rows: Sequence[Mapping[str, Any]], command: str) -> str:
    """Write a new version below ``folder`` and make it the current one; its name. ``rows``: what was measured."""
    made = {"command": command, **asdict(profile)}
    config = {"kind": "profile", "format_version": FORMAT_VERSION, **made, "measured": list(rows)}
    return save_version(folder, lambda _: None, config, _CARD.format(**made))


def current_profile(folder: Path) -> Profile | None:
    """The current one below ``folder``; None where none was made.

    Raises:
        WorkspaceError: it is damaged or of a newer format.
    """
    version = current_version(folder)
    if version is None:
        return None
    again = "make one with: whyrec compress"
    try:
        config = json.loads((folder / version / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise WorkspaceError(f"the profile in {folder} is of a newer whyrec; update it, or {again}")
        return Profile.of({name: config[name] for name in ("language_model", "student")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"the profile in {folder} cannot be read ({first_line(error)}); {again}") from error
