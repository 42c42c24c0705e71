"""`whyrec tune`."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, Steps, print_rows, say
from agent.cli.evaluate import SCORER_NAMES, RelevantOption, SplitOption, TrialsOption
from agent.cli.evaluate import RelevantChoice as Relevant
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.evaluation.fusing import ForLikes, Fusions
    from agent.evaluation.tuning import Tuned
    from retrieval.cf.fused import Strategy

FUSION = "fusion"


def tune(
    scorers: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Some of {', '.join(SCORER_NAMES)}; or fusion: all that are fused, put together and made live.",
            show_default="fusion",
        ),
    ] = None,
    split: SplitOption = None,
    trials: TrialsOption = 20,
    relevant: RelevantOption = Relevant.liked,
    seed: Annotated[int, typer.Option(min=0, help="For the split and for what is drawn in training.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Search the parameters of scorers on validation events, and let the best way to fuse them serve.

    The test part of the split is not touched. Winners and trials are kept in tuning/ of the workspace.

    Example:  whyrec tune ease ials --trials 30
    """
    from agent.evaluation.fusing import fused_scorers, make_live
    from agent.evaluation.study import Question
    from agent.evaluation.tuning import tune_each
    from agent.models import Models
    from agent.tuned_study import open_study
    from retrieval.cf.fused import SINGLE
    from retrieval.cf.scorers import SCORERS
    from retrieval.errors import InputError, command

    wanted = list(dict.fromkeys(scorers or [FUSION]))
    unknown = [name for name in wanted if name not in (*SCORERS, FUSION)]
    if unknown:
        raise typer.BadParameter(f"no scorer {unknown[0]!r}; there are {', '.join((*SCORERS, FUSION))}")
    opened = open_workspace(workspace)
    question = Question(split.value if split else None, relevant.value)
    study = open_study(opened.workspace, opened.settings, Models(opened.settings, say), question, seed)
    fused = fused_scorers(study.name)
    names = list(dict.fromkeys(part for name in wanted for part in (fused if name == FUSION else (name,))))
    if FUSION in wanted and not study.has_text:
        raise InputError(f"a fusion needs the items' text; run: {command('index', workspace)}")
    with opened.workspace.writing(), Steps() as watch:
        winners = tune_each(study, names, trials, watch)
        rows = [as_row(found) for found in winners]
        if FUSION in wanted:
            command_line = shlex.join(["whyrec", *sys.argv[1:]])
            fusions = make_live(study, [found for found in winners if found.scorer in fused], command_line, watch)
            rows += [fusion_row(fusions, name) for name in fusions.values]
            rows += [likes_row(fusions.likes)] if fusions.likes else []
    print_rows(rows, form, as_table(rows))
    if FUSION not in wanted:
        say(f"Kept in the workspace; {command('tune', workspace)} puts scorers together and lets them serve")
    else:
        used = ", ".join(fusions.strategies[fusions.best].used)
        alone = f"{used} alone, than which no fusion is proven better"
        say(f"Live: {alone if fusions.best == SINGLE else f'{fusions.best} of {used}'}; whyrec recommend uses it now")
        likes = fusions.likes
        named = "the text alone, than which nothing is proven better"
        if likes and likes.proven:
            named = f"weighted of {', '.join(likes.fusion.used)}"
        say(f"For likes without a history: {named}")


def fusion_row(fusions: "Fusions", name: "Strategy") -> dict[str, Any]:
    """What one strategy reached on users whom its constants were not chosen on."""
    row = {"scorer": name, "metric": "ndcg@10", "validation": round(fusions.values[name], 4), "default": None}
    return {**row, "trials": None, "parameters": fusions.strategies[name].constants}


def likes_row(likes: "ForLikes") -> dict[str, Any]:
    """What putting scorers together is worth for people who name a few items, beside the text alone."""
    value, by_text = round(likes.value, 4), round(likes.by_text, 4)
    row = {"scorer": "3 likes", "metric": "ndcg@10", "validation": value, "default": by_text, "trials": None}
    return {**row, "parameters": likes.fusion.constants}


def as_row(found: "Tuned") -> dict[str, Any]:
    """The winner of one search."""
    return {
        "scorer": found.scorer,
        "metric": found.metric,
        "validation": round(found.value, 4),
        "default": round(found.trials[0].value, 4),
        "trials": len(found.trials),
        "parameters": {name: _short(value) for name, value in found.parameters.items()},
    }


def as_table(rows: list[dict[str, Any]]) -> Table:
    """Rows for people; parameters as words."""
    table = Table(box=None, pad_edge=False)
    for name in ("scorer", "metric", "validation", "default", "trials"):
        table.add_column(name, justify="left" if name in ("scorer", "metric") else "right", no_wrap=True)
    table.add_column("parameters", overflow="fold")
    for row in rows:
        words = ", ".join(f"{name} {'all' if value is None else value}" for name, value in row["parameters"].items())
        cells = ("" if row[name] is None else str(row[name]) for name in list(row)[:-1])
        table.add_row(*map(Text, (*cells, words)))
    return table


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
