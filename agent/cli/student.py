"""`whyrec label` and `whyrec distill`: from the teacher's lists to a scorer that needs no language model."""

import re
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import SplitOption, TrialsOption
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, Opened, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.ranking_lists import Retrieval
    from agent.teacher import Teacher

SECONDS = {"s": 1, "m": 60, "h": 3600}
SeedOption = Annotated[int, typer.Option(min=0, help="For the split and for what is drawn.")]


def _seconds(text: str | None) -> float:
    if text is None:
        return float("inf")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None:
        raise typer.BadParameter(f"--budget {text!r} is no duration; write for instance 90s, 30m or 2h")
    return float(found[1]) * SECONDS[found[2]]


def label(
    lists: Annotated[
        int, typer.Option(min=0, help="Lists that the language model orders, earlier ones included.")
    ] = 500,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it may take, such as 30m.", show_default="no end")
    ] = None,
    split: SplitOption = None,
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
    from retrieval.data.labels import LABELS, LabelStore

    opened = open_workspace(workspace)
    with opened.workspace.writing(), Steps() as watch:
        teacher, _ = _teacher(opened, split.value if split else None, trials, seed, watch)
        store = LabelStore(opened.workspace.root / LABELS)
        found = Labeller(teacher, store, watch).run(Budget(lists, seconds))
    row = {"with LM": found.asked, "asked now": found.asked_now, "by scorers": found.others}
    print_rows([{**row, "teacher": teacher.fingerprint}], form)
    if found.asked_now:
        say(f"{found.asked_now / found.seconds:.2f} lists a second with the language model")
    if found.damaged:
        note(f"{found.damaged} parts in labels/ could not be read and were labelled anew")


def distill(
    split: SplitOption = None,
    trials: TrialsOption = 20,
    seed: SeedOption = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Teach a student from what whyrec label has kept; whyrec recommend --mode fast serves it, with no language model.

    Before, it is proven on validation that teaching helps; where it does not, the untaught twin serves. With --split,
    the student has not seen the split's test part, and whyrec evaluate measures it.

    Example:  whyrec distill
    """
    from agent.distillation import Distiller, described, student_config
    from agent.stored_student import MEASURED, STUDENT
    from finetune.distill import Distillation
    from retrieval.data.labels import LABELS, LabelStore

    opened = open_workspace(workspace)
    with opened.workspace.writing(), Steps() as watch:
        teacher, retrieval = _teacher(opened, split.value if split else None, trials, seed, watch)
        config = student_config(teacher.study, trials, watch)
        distiller = Distiller(teacher, retrieval, config, Distillation(seed=seed), watch)
        store, kind = LabelStore(opened.workspace.root / LABELS), MEASURED if split else STUDENT
        outcome = distiller.run(store, opened.workspace.root / kind, shlex.join(["whyrec", *sys.argv[1:]]))
    print_rows([described(outcome)], form)
    say(f"Kept as {kind}/{outcome.version}. NDCG@10 on validation; low: the gain is above it, 95 % sure")
    if not outcome.proven:
        note("teaching does not prove to help on validation; the untaught twin serves")


def _teacher(opened: Opened, split: str | None, trials: int, seed: int, watch: Steps) -> "tuple[Teacher, Retrieval]":
    """The teacher of all events or, with a split, of all but its test part."""
    from agent.evaluation.study import Question
    from agent.models import Models
    from agent.ranking_lists import find_retrieval
    from agent.teacher import find_teacher
    from agent.tuned_study import open_study

    models = Models(opened.settings, say)
    study = open_study(opened.workspace, opened.settings, models, Question(split), seed)
    retrieval = find_retrieval(study, trials, watch)
    teacher, why = find_teacher(study, retrieval, measured=split is not None)
    if why:
        watch.note(f"the scorers teach alone: {why}")
    return teacher, retrieval
