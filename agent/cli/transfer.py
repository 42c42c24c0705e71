"""`whyrec transfer`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import TrialsOption
from agent.cli.options import FormatOption, SeedOption, open_workspace

if TYPE_CHECKING:
    from agent.transfer import Transferred


def transfer(
    source: Annotated[Path, typer.Option("--from", help="The workspace that constants come from.")],
    target: Annotated[Path, typer.Option("--to", help="The workspace that gets a student.")],
    trials: TrialsOption = 20,
    seed: SeedOption = 0,
    form: FormatOption = Format.table,
) -> None:
    """Make a student for a young workspace, with constants from another one; whyrec recommend --mode fast serves it.

    How much close texts count, and what is close, cannot be told by a handful of people; a workspace that knows many
    tells it, for a workspace of the young one's size. Tables are not carried over: what people like in one domain says
    nothing of another. Where the young one has enough events to judge, those constants serve only if validation on cold
    items proves them better than its own. Both must be indexed with the same encoder.

    Example:  whyrec transfer --from films --to games
    """
    from agent.evaluation.study import Question, Study
    from agent.models import Models
    from agent.transfer import SPLIT, Transfer

    opened = open_workspace(source), open_workspace(target)
    there, here = (
        Study(one.workspace, one.settings, Models(one.settings, say), Question(SPLIT), seed) for one in opened
    )
    with here.workspace.writing(), Steps() as watch:
        found = Transfer(there, here, trials, watch).run(shlex.join(["whyrec", *sys.argv[1:]]))
    print_rows([described(found)], form)
    say(f"Kept as models/student/{found.version}. NDCG@10 on validation of cold items; gain above: 95 % sure")
    if found.low is None:
        note("there are too few events to judge it by; the constants from there serve unproven")
    elif not found.serves:
        note("the constants from there do not prove to help; its own serve")


def described(found: "Transferred") -> dict[str, Any]:
    """The outcome as a row."""
    judged = {"own": found.own, "from there": found.there, "gain above": found.low}
    row = {**found.size._asdict(), **{name: v if v is None else round(v, 4) for name, v in judged.items()}}
    constants = {"near": found.constants.near, "flat": found.constants.flat}
    return row | {"serves": "from there" if found.serves else "own"} | constants
