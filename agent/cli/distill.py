"""`whyrec distill`."""

import shlex
import sys
from enum import StrEnum
from typing import Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import HeldOutOption, TrialsOption
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, SeedOption, WorkspaceOption, open_workspace


class PretrainChoice(StrEnum):
    """What is learnt from sequences of events, without a teacher."""

    off = "off"
    first = "first"
    alone = "alone"


PretrainOption = Annotated[
    PretrainChoice,
    typer.Option(
        "--pretrain",
        help="Learn from sequences of events what is had together and next: not at all, before the teacher, or without "
        "a teacher, which needs no labels.",
    ),
]


def distill(
    pretrain: PretrainOption = PretrainChoice.off,
    split: HeldOutOption = None,
    trials: TrialsOption = 20,
    seed: SeedOption = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Teach a student from what whyrec label has kept; whyrec recommend --mode fast serves it, with no language model.

    Before, it is proven on validation that teaching helps; where it does not, the untaught twin serves. With --split,
    the student has not seen the split's test part, and whyrec evaluate measures it.

    --pretrain is proven in the same way, as a part of the whole.

    Example:  whyrec distill
    """
    from agent.distillation import Distiller, described
    from agent.lesson import Lesson
    from agent.models import Models
    from agent.stored_student import MEASURED, STUDENT
    from agent.teacher import open_teacher
    from agent.twin_tuning import student_config
    from finetune.distill import Distillation
    from finetune.pretraining import Pretraining
    from retrieval.data.labels import LABELS, LabelStore

    lesson = Lesson(
        None if pretrain is PretrainChoice.off else Pretraining(seed=seed),
        None if pretrain is PretrainChoice.alone else Distillation(seed=seed),
    )
    opened = open_workspace(workspace)
    models = Models(opened.settings, say)
    with opened.workspace.writing(), Steps() as watch:
        teacher, retrieval = open_teacher(opened.workspace, models, split.value if split else None, seed, trials, watch)
        config = student_config(teacher.study, trials, watch)
        distiller = Distiller(teacher, retrieval, config, lesson, watch)
        store, kind = LabelStore(opened.workspace.root / LABELS), MEASURED if split else STUDENT
        outcome = distiller.run(store, opened.workspace.root / kind, shlex.join(["whyrec", *sys.argv[1:]]))
    print_rows([described(outcome)], form)
    say(f"Kept as {kind}/{outcome.version}. NDCG@10 on validation; low: the gain is above it, 95 % sure")
    if not outcome.proof.proven:
        note("teaching does not prove to help on validation; the untaught twin serves")
    if outcome.proof.behind:
        note("on validation the scorers are proven ahead of it: --mode fast is faster, the other modes rank better")
