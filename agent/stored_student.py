"""The student of a workspace: its tables on disk, and what is known of how it was taught."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retrieval.artefacts import sync
from retrieval.cf.rounding import TablePrecision, restored, rounded
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, ModelError, first_line
from retrieval.versions import current_version, save_version, version_names

STUDENT = Path("models") / "student"  # in a workspace: those that may serve
MEASURED = Path("models") / "measured-student"  # those that were taught without the test part of a split
FORMAT_VERSION = 2
TABLES = "student.safetensors"
LABELLED = "labelled.parquet"

_CARD = """# Student

Made by `{command}`: {serves}. It scores every item for a history without any language model; `whyrec recommend --mode
fast` uses it. {judged}

`student.safetensors` has one row for each item, in order of id: `parts` and `vectors` (m, q), `bias` (m,).
`labelled.parquet` names the people whose lists a language model has ordered for it.
"""
_TAUGHT = (
    "On validation ({split}), for lists by the scorers alone, NDCG@10 was {twin:.4f} before it was taught and "
    "{student:.4f} after; the gain is above {low:+.4f} with 95 % confidence."
)
_CARRIED = (
    "On validation ({split}) NDCG@10 was {twin:.4f} with constants of its own and {student:.4f} with those from "
    "there; the gain is above {low:+.4f} with 95 % confidence."
)
_UNJUDGED = "There were too few events here to judge it by."


@dataclass(frozen=True)
class StoredStudent:
    """student: ready to score. catalog: fingerprint of the items that its rows are. split: of the split that it was
    taught on, "" for all events. teacher: fingerprint of the labels it learnt from.
    """

    version: str
    folder: Path
    student: Student
    catalog: str
    split: str
    teacher: str
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labelled(self) -> pl.Series:
        """The users whose lists a language model has ordered for it."""
        return pl.read_parquet(self.folder / LABELLED)["user_id"]


def save_student(folder: Path, student: Student, made: Mapping[str, Any], labelled: pl.Series) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    labelled: the users whose lists a language model has ordered for it. It has tables in the precisions that the one
    before has: a small profile serves on.

    Raises:
        InputError: they have numbers that one of these cannot hold.
    """
    before = current_version(folder)
    precisions = [one for one in get_args(TablePrecision) if before and (folder / before / table_file(one)).is_file()]
    config = {
        "kind": "student",
        "format_version": FORMAT_VERSION,
        "parameters": student.config.to_json(),
        "items": student.items,
        **made,
    }
    card = _CARD.format(command=made["command"], serves=serves(made), judged=_judged(made))

    def write(work: Path) -> None:
        for precision in dict.fromkeys(("float32", *precisions)):
            save_file(rounded(student.arrays(), precision), work / table_file(precision))
        pl.DataFrame({"user_id": labelled}).write_parquet(work / LABELLED)

    return save_version(folder, write, config, card, keep=True)


def serves(made: Mapping[str, Any]) -> str:
    """What a student of such a description is."""
    proven, carried = made["validation"]["proven"], made.get("transferred")
    if carried is None:
        taught = (
            "a student taught by its teacher's lists"
            if made["lists"]["learnt from"]
            else "a student that has learnt from sequences of events, without a teacher's lists"
        )
        what = taught if proven else "the untaught twin, as no gain was proven"
        return f"{what}, {made['lists']['asked']:,} of them ordered with a language model"
    if not carried["serves"]:
        return f"an untaught student with constants of its own, as no gain of those from {carried['from']} was proven"
    return f"an untaught student with constants from {carried['from']}" + ("" if proven else ", not proven here")


def _judged(made: Mapping[str, Any]) -> str:
    found = made["validation"]
    if found["low"] is None:
        return _UNJUDGED
    return (_CARRIED if "transferred" in made else _TAUGHT).format(**found)


def table_file(precision: TablePrecision) -> str:
    """The name of the file with the tables in this precision."""
    return TABLES if precision == "float32" else TABLES.replace(".", f"-{precision}.")


def save_rounded(stored: StoredStudent, precision: TablePrecision) -> Path:
    """Write its tables in fewer bits beside those it has; the file.

    Raises:
        InputError: they have numbers that this precision cannot hold.
    """
    path = stored.folder / table_file(precision)
    part = path.with_name(f".{path.name}.part")
    save_file(rounded(stored.student.arrays(), precision), part)
    sync(part)
    return part.rename(path)


def current_student(folder: Path, precision: TablePrecision = "float32") -> StoredStudent | None:
    """The current version below ``folder``, from its tables in this precision; None where none was made.

    Raises:
        ModelError: it is damaged or of a newer format, or has no such tables.
    """
    version = current_version(folder)
    return None if version is None else _read(folder / version, precision)


def fitting_student(workspace: Workspace) -> StoredStudent | None:
    """The current one of a workspace, None where there is none of its items as they are now.

    Raises:
        ModelError: as `current_student`.
    """
    found = current_student(workspace.root / STUDENT)
    return found if found is not None and found.catalog == workspace.catalog_fingerprint else None


def student_of_split(folder: Path, catalog: str, space: str, split: str) -> StoredStudent | None:
    """The latest version below ``folder`` that was taught on this split of these items; None where there is none.

    space: of the vectors of their texts (`ItemIndex.space`).
    """
    wanted = {"format_version": FORMAT_VERSION, "catalog": catalog, "space": space, "split": split}
    for name in reversed(version_names(folder)):
        made = _config(folder / name)
        if all(made[key] == value for key, value in wanted.items()):
            return _read(folder / name)
    return None


def _config(folder: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        newer = made["format_version"] > FORMAT_VERSION
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error
    if newer:
        raise ModelError(f"the student in {folder} is of a newer whyrec; update it, or make one: whyrec distill")
    return made


def _read(folder: Path, precision: TablePrecision = "float32") -> StoredStudent:
    made = _config(folder)
    if made["format_version"] < FORMAT_VERSION:
        raise ModelError(f"the student in {folder} was made by an older whyrec; make one: whyrec distill")
    path = folder / table_file(precision)
    if precision != "float32" and not path.is_file():
        raise ModelError(f"the student in {folder} has no tables in {precision}; make them with: whyrec compress")
    try:
        config = StudentConfig.from_json(made["parameters"])
        student = Student.from_arrays(config, made["items"], restored(load_file(path)))
        if len(student.vectors) != made["items"]:
            raise ModelError(f"the student in {folder} has {len(student.vectors):,} rows for {made['items']:,} items")
        return StoredStudent(folder.name, folder, student, made["catalog"], made["split"], made["teacher"], made)
    except (OSError, ValueError, KeyError, TypeError, InputError, SafetensorError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ModelError:
    return ModelError(f"the student in {folder} cannot be read ({first_line(error)}); make one with: whyrec distill")
