"""`whyrec label`."""

import re
from typing import Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import HeldOutOption, TrialsOption
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, SeedOption, WorkspaceOption, open_workspace

SECONDS = {"s": 1, "m": 60, "h": 3600}


def label(
    lists: Annotated[
        int, typer.Option(min=0, help="Lists that the language model orders, earlier ones included.")
    ] = 500,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long the language model may be asked, such as 30m.", show_default="no end"
        ),
    ] = None,
    split: HeldOutOption = None,
    trials: TrialsOption = 20,
    seed: SeedOption = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Let the teacher order lists for people of the workspace, for a student to learn from (whyrec distill).

    The teacher is what serves with all it has: the scorers, and the language model wherever its gate is open. What was
    labelled is kept in labels/ and never asked again, also after an interruption. With --split, what the split's test
    part holds is left out, so that a student taught by it can be measured.

    Example:  whyrec label --budget 30m
    """
    seconds = _seconds(budget)
    from agent.labelling import Budget, Labeller
    from agent.models import Models
    from agent.teacher import open_teacher
    from retrieval.data.labels import LABELS, LabelStore

    opened = open_workspace(workspace)
    models = Models(opened.settings, say)
    with opened.workspace.writing(), Steps() as watch:
        teacher, _ = open_teacher(opened.workspace, models, split.value if split else None, seed, trials, watch)
        store = LabelStore(opened.workspace.root / LABELS)
        found = Labeller(teacher, store, watch).run(Budget(lists, seconds))
    row = {"with LM": found.asked, "asked now": found.asked_now, "by scorers": found.others}
    print_rows([{**row, "teacher": teacher.fingerprint}], form)
    if found.asked_now:
        say(f"{found.asked_now / found.seconds:.2f} lists a second with the language model")
    if found.damaged:
        note(f"{found.damaged} parts in labels/ could not be read and were labelled anew; they can be deleted")


def _seconds(text: str | None) -> float:
    if text is None:
        return float("inf")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None:
        raise typer.BadParameter(f"--budget {text!r} is no duration; write for instance 90s, 30m or 2h")
    return float(found[1]) * SECONDS[found[2]]
