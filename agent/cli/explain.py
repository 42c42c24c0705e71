"""`whyrec explain`."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, note, print_rows, say
from agent.cli.options import (
    DEFAULT_WORKSPACE,
    CountOption,
    FormatOption,
    ProfileOption,
    WorkspaceOption,
    open_workspace,
)
from agent.cli.recommend import (
    LanguageChoice,
    LanguageOption,
    StyleChoice,
    StyleOption,
    WriterChoice,
    WriterOption,
    writer_of,
)
from agent.request import Request, as_row

if TYPE_CHECKING:
    from agent.request import Recommended, Style
    from agent.why_not import WhyNot


def explain(
    user: Annotated[str, typer.Argument(help="A user id of the events.", show_default=False)],
    item: Annotated[str, typer.Argument(help="An item id, or a title.", show_default=False)],
    why_not: Annotated[
        bool,
        typer.Option("--why-not", help="Say instead why the item is not in the user's list, and what others have."),
    ] = False,
    k: CountOption = 10,
    style: StyleOption = StyleChoice.short,
    language: LanguageOption = LanguageChoice.en,
    writer: WriterOption = WriterChoice.lm,
    form: FormatOption = Format.table,
    profile: ProfileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Explain why an item suits a user: a sentence, and the evidence behind it. Or why it is not in the user's list.

    -k is the length of that list.

    Example:  whyrec explain 15 "Blade Runner" --why-not
    """
    if style is StyleChoice.contrast:
        raise typer.BadParameter("--style contrast is for a list: whyrec recommend USER --explain --style contrast")
    from agent.models import Models
    from agent.recommender import Recommender, serving

    opened = open_workspace(workspace, profile)
    live = serving(opened.workspace, opened.settings) if why_not else None
    recommender = Recommender(opened.workspace, opened.settings, Models(opened.settings, say), live)
    if why_not:
        from agent.why_not import why_not as find_why_not

        found = find_why_not(recommender, Request(user, k=k), opened.settings.ranking.candidates, item)
        print_rows([{"said": found.said, **asdict(found)}], form, as_comparison(found))
        return
    worded: Style = "detailed" if style is StyleChoice.detailed else "short"
    request = Request(user, writer=writer_of(writer, language), style=worded, language=language.value)
    answer = recommender.explain(request, item)
    for message in answer.notes:
        note(message)
    print_rows([as_row(row) for row in answer.rows], form, *[as_table(row) for row in answer.rows])


def as_comparison(found: "WhyNot") -> Table:
    """The reason, and each stage's score of the item beside that of the last one listed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("why not", Text(found.said, style="bold"))
    for stage, score in found.item.items():
        other = f"{found.other[stage]:.3f} for {found.last.label}, which is at place {found.listed}"
        table.add_row(stage, Text(f"{score:.3f}; {other}"))
    return table


def as_table(row: "Recommended") -> Table:
    """The sentence and what stands behind it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if row.explanation is None:
        return table
    evidence = row.explanation.evidence
    table.add_row("why", Text(row.explanation.text, style="bold"))
    table.add_row("written by", {"lm": "the language model", "template": "the template"}[row.explanation.written_by])
    for cited in evidence.cited:
        effect = f"text similarity {cited.similarity:.2f}; without it the score is less by {cited.effect:.3f}"
        table.add_row(evidence.did, Text(f"{cited.label} [{cited.item_id}], {effect}"))
    if evidence.people:
        chance = f", {evidence.times:.1f} times as many as by chance" if evidence.cited else ""
        table.add_row(
            "people", Text(f"{evidence.people:,} {evidence.they} {'both' if evidence.cited else 'it'}{chance}")
        )
    for attribute in evidence.attributes:
        times = f"{math.exp(attribute.specificity):.1f} times as frequent in what the user {evidence.did}"
        table.add_row("shared", Text(f"{attribute.field}: {attribute.value}, {times} as in the catalog"))
    return table
