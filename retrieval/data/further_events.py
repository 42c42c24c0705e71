"""Read further events for a workspace that is there already, as a part of its own."""

from pathlib import Path

import polars as pl

from retrieval.artefacts import write_parquet
from retrieval.data.columns import for_table, refuse_unused
from retrieval.data.import_events import import_events
from retrieval.data.import_report import ImportReport
from retrieval.data.readers import Table
from retrieval.data.workspace import EVENT_COLUMNS, Workspace
from retrieval.errors import InputError, command

KNOWN = "an event that is there already"
REAL = ("seconds", "milliseconds", "iso")


def read_events(
    workspace: Workspace, table: Table, overrides: dict[str, str], folder: Path, *, skip_invalid: bool = False
) -> tuple[Path | None, ImportReport]:
    """Write the events of a table that the workspace does not have into ``folder``, under the name of its next part.

    The file, None where there is no such event, and the report. The workspace stays as it is. Positions that no column
    gives go on behind those that are there.

    Raises:
        InputError: the table cannot be used (`import_events`), or its times are of another kind than the workspace's.
    """
    refuse_unused(overrides, {"events": table.columns()})
    parts = sorted(workspace.events_path.glob("part-*.parquet"))
    if not parts:
        again = command("init --replace --items FILE --events FILE", workspace.root)
        raise InputError(f"there are no events yet that others could follow; run: {again}")
    read = folder / "events.read"
    columns = for_table(overrides, "events")
    report, times = import_events(table, columns, workspace.catalog.frame, read, skip_invalid=skip_invalid)
    kinds = [REAL if kind in REAL else kind for kind in (workspace.times, times.kind)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{table.source}: its times are {_words(times.kind)}, those of the workspace {_words(workspace.times)}; "
            "see --map timestamp=COLUMN"
        )
    events, before, same = pl.scan_parquet(read), workspace.events(), list(EVENT_COLUMNS)
    if times.kind == "none":
        last = before.select(pl.col("timestamp").max()).collect(engine="streaming").item()
        events, same = events.with_columns(pl.col("timestamp") + last), same[:-1]
    part = folder / f"part-{_next(parts):05}.parquet"
    write_parquet(events.join(before, on=same, how="anti", maintain_order="left").select(EVENT_COLUMNS), part)
    read.unlink()
    new = pl.scan_parquet(part).select(pl.len()).collect().item()
    if new < report.kept:
        report.left_out[KNOWN] = report.kept - new
        report.kept = new
    if new:
        return part, report
    part.unlink()
    return None, report


def _next(parts: list[Path]) -> int:
    numbers = (path.stem.removeprefix("part-") for path in parts)
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def _words(kind: str) -> str:
    return {"none": "not given", "order": "positions"}.get(kind, kind)
