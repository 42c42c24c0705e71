"""`whyrec recommend`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, note, print_rows, say
from agent.cli.options import (
    DEFAULT_WORKSPACE,
    CountOption,
    FormatOption,
    Opened,
    ProfileOption,
    WhereOption,
    WorkspaceOption,
    open_workspace,
)
from agent.request import Request, as_row

if TYPE_CHECKING:
    from agent.request import Answer, Recommended


class ModeChoice(StrEnum):
    """Which stages make the order."""

    auto = "auto"
    fast = "fast"
    retrieval = "retrieval"
    full = "full"


class StyleChoice(StrEnum):
    """What explanations say."""

    short = "short"
    detailed = "detailed"
    contrast = "contrast"


class LanguageChoice(StrEnum):
    """What language explanations are in."""

    en = "en"
    zh = "zh"


class WriterChoice(StrEnum):
    """Who words explanations."""

    lm = "lm"
    template = "template"


UserArgument = Annotated[str | None, typer.Argument(help="A user id of the events.", show_default=False)]
LikeOption = Annotated[list[str] | None, typer.Option("--like", help="A title the person likes. Can be repeated.")]
QueryOption = Annotated[str, typer.Option("--query", help="What the person wants, in words.")]
StyleOption = Annotated[
    StyleChoice,
    typer.Option(
        help="What explanations say, where the data have it. detailed: how often, too; contrast: what the next item of "
        "the list lacks."
    ),
]
LanguageOption = Annotated[
    LanguageChoice, typer.Option(help="Of explanations; in Chinese (zh) they come from the template.")
]
WriterOption = Annotated[WriterChoice, typer.Option("--writer", help="Who words the explanations.")]


def _strength(name: str, weighs: str) -> Any:
    return typer.Option(name, min=0, max=1, help=f"{weighs}: 0 not at all, 1 alone.", **_SHAPING)


_SHAPING: dict[str, Any] = {"rich_help_panel": "Shaping the list"}
DiversityOption = Annotated[
    float, _strength("--diversity", "How much it counts that items are unlike those before them")
]
CalibratedOption = Annotated[
    float, _strength("--calibrated", "How much it counts that the list has the history's mix of genres or the like")
]
CalibratedByOption = Annotated[
    str,
    typer.Option(
        "--calibrated-by",
        help="The field whose mix is meant.",
        show_default="the text field with most to tell by common values",
        **_SHAPING,
    ),
]
NoveltyOption = Annotated[float, _strength("--novelty", "How much it counts that few have had an item")]
ExploreOption = Annotated[
    float,
    typer.Option(
        "--explore",
        min=0,
        max=1,
        help="Draw scores at random, the more freely the fewer have had an item, so that new ones get their chance: 0 "
        "not at all, 1 as far as scores reach.",
        **_SHAPING,
    ),
]
ExploreSeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of --explore.", **_SHAPING)]
PinOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pin",
        help="A title or id that stands first, unless the user disliked or hid it. Can be repeated.",
        **_SHAPING,
    ),
]
BanOption = Annotated[
    list[str] | None, typer.Option("--ban", help="A title or id that is left out. Can be repeated.", **_SHAPING)
]


def recommend(
    user: UserArgument = None,
    like: LikeOption = None,
    query: QueryOption = "",
    k: CountOption = 10,
    where: WhereOption = "",
    exclude_seen: Annotated[
        bool, typer.Option("--exclude-seen/--include-seen", help="Leave out what the user has had.")
    ] = True,
    explain: Annotated[bool, typer.Option("--explain", help="Say why, for each item.")] = False,
    mode: Annotated[
        ModeChoice,
        typer.Option(
            help="auto: the language model orders where that is proven; full: it scores in any case; retrieval: it is "
            "left out; fast: the student alone (whyrec distill)."
        ),
    ] = ModeChoice.auto,
    alpha: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Weight of the language model in the order.", show_default="proven"),
    ] = None,
    writer: WriterOption = WriterChoice.lm,
    style: StyleOption = StyleChoice.short,
    language: LanguageOption = LanguageChoice.en,
    diversity: DiversityOption = 0,
    calibrated: CalibratedOption = 0,
    calibrated_by: CalibratedByOption = "",
    novelty: NoveltyOption = 0,
    explore: ExploreOption = 0,
    seed: ExploreSeedOption = 0,
    pin: PinOption = None,
    ban: BanOption = None,
    form: FormatOption = Format.table,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how long each stage took.")] = False,
    profile: ProfileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Recommend items for a user, for likes, for a wish in words, or for several of these together.

    A list is shaped in the order --explore, --novelty, --calibrated, --diversity, --pin; each row says by what.

    Example:  whyrec recommend --like "Alien" --like "Blade Runner" --where "year >= 1990" --explain

    Example:  whyrec recommend 15 --diversity 0.3 --calibrated 0.2 --ban "Waterworld"
    """
    if user is None and not like and not query.strip():
        raise typer.BadParameter("give a USER, --like TITLE or --query WORDS")
    if mode is ModeChoice.retrieval and alpha:
        raise typer.BadParameter("--alpha weighs the language model, which --mode retrieval leaves out")
    if mode is ModeChoice.fast and alpha is not None:
        raise typer.BadParameter("--alpha weighs the language model, which --mode fast does without")
    if calibrated_by and not calibrated:
        raise typer.BadParameter("--calibrated-by names a field for --calibrated, which is 0")
    if calibrated and user is None and not like:
        raise typer.BadParameter("--calibrated keeps to a history; give a USER or --like TITLE")
    from retrieval.shaping import Shaping

    opened = open_workspace(workspace, profile)
    request = Request(
        user,
        tuple(like or ()),
        query,
        k,
        where,
        exclude_seen,
        mode.value,
        alpha,
        explain,
        writer_of(writer, language),
        style=style.value,
        language=language.value,
        shaping=Shaping(explore, novelty, calibrated, diversity, seed, calibrated_by),
        pin=tuple(pin or ()),
        ban=tuple(ban or ()),
    )
    answer = _fast(opened, request) if mode is ModeChoice.fast else _answered(opened, request)
    for message in answer.notes:
        note(message)
    print_rows([as_row(row) for row in answer.rows], form, *as_tables(answer.rows))
    if verbose:
        say("  ".join(f"{stage} {seconds:.2f} s" for stage, seconds in answer.seconds.items()))


def writer_of(writer: WriterChoice, language: LanguageChoice) -> Literal["lm", "template"]:
    """Who can write in this language."""
    return writer.value if language is LanguageChoice.en else "template"


def _answered(opened: Opened, request: Request) -> "Answer":
    from agent.models import Models
    from agent.recommender import Recommender, serving

    live = serving(opened.workspace, opened.settings) if request.mode != ModeChoice.retrieval else None
    return Recommender(opened.workspace, opened.settings, Models(opened.settings, say), live).recommend(request)


def _fast(opened: Opened, request: Request) -> "Answer":
    """By the student; the index and a writer are asked for explanations alone."""
    from agent.fast import FastRecommender

    answer = FastRecommender(opened.workspace, opened.settings).recommend(request)
    if not request.explain:
        return answer
    from agent.models import Models
    from agent.recommender import Recommender

    return Recommender(opened.workspace, opened.settings, Models(opened.settings, say)).explained(answer, request)


def as_tables(rows: "list[Recommended]") -> list[Table]:
    """Rows for people: a table, and a list of the explanations where there are any."""
    table = Table(box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("title", overflow="fold", style="bold")
    table.add_column("id", justify="right", overflow="fold", max_width=16)
    table.add_column("score", justify="right", no_wrap=True)
    ranked = any("rank" in row.stages for row in rows)
    if ranked:
        table.add_column("LM", justify="right", no_wrap=True)
    table.add_column("by", overflow="fold")
    for row in rows:
        cells = [str(row.place), row.label, row.item_id, "" if row.score is None else f"{row.score:.3f}"]
        if ranked:
            cells.append(f"{row.stages['rank']:.2f}" if "rank" in row.stages else "")
        table.add_row(*map(Text, [*cells, "+".join(row.by)]))
    reasons = Table(box=None, pad_edge=False, show_header=False)
    reasons.add_column(justify="right")
    reasons.add_column(overflow="fold")
    for row in rows:
        if row.explanation is not None:
            by = " (template)" if row.explanation.written_by == "template" else ""
            reasons.add_row(Text(str(row.place)), Text(row.explanation.text + by))
    return [table, reasons] if reasons.row_count else [table]
