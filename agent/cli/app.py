"""The command group: collects the commands and turns errors into one line and an exit code."""

import errno
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent.cli import (
    INTERRUPTED,
    add_items,
    chat,
    compact,
    compress,
    distill,
    doctor,
    evaluate,
    evaluate_explanations,
    explain,
    export,
    export_user,
    feedback,
    finetune,
    forget,
    index,
    init,
    label,
    mcp,
    models,
    recommend,
    refresh,
    similar,
    transfer,
    tune,
)
from agent.cli.console import complain
from retrieval.errors import WhyrecError, sentence


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit codes: 0, 1 (our error, one line), 2 (usage), 130 (Ctrl-C)."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _interrupted() from None
        except BaseException as error:
            said = sentence(error)
            if said is None:
                raise
            if not isinstance(error, (WhyrecError, OSError)) and _was_interrupted(error):
                raise _interrupted() from None
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                # The reader went away, as with `| head`; nothing more can be said on this pipe.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            else:
                complain(said)
            raise typer.Exit(1) from error


def _was_interrupted(error: BaseException) -> bool:
    """Whether a crash in the Rust part of a library came of Ctrl-C."""
    return "KeyboardInterrupt" in f"{error} {error.__cause__!r} {error.__context__!r}"


def _interrupted() -> typer.Exit:
    complain("interrupted; what was finished is kept, and the command can be given again")
    return typer.Exit(INTERRUPTED)


app = typer.Typer(
    name="whyrec",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"whyrec {version('whyrec')}")
        raise typer.Exit


@app.callback()
def whyrec(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Recommend items from day one and say why.

    Start with:  whyrec init --demo movielens && whyrec index && whyrec recommend 15 --explain
    """


app.command()(init.init)
app.command()(index.index)
app.command(name="add-items")(add_items.add_items)
app.command()(recommend.recommend)
app.command()(explain.explain)
app.command()(similar.similar)
app.command()(chat.chat)
app.add_typer(feedback.app, name="feedback")
app.command()(compact.compact)
app.command(name="export-user")(export_user.export_user)
app.command()(forget.forget)
app.command()(tune.tune)
app.command()(refresh.refresh)
app.add_typer(finetune.app, name="finetune")
app.command()(label.label)
app.command()(distill.distill)
app.command()(transfer.transfer)
app.command()(compress.compress)
app.command()(mcp.mcp)
app.add_typer(export.app, name="export")
app.add_typer(models.app, name="models")
evaluate.app.command()(evaluate_explanations.explanations)
app.add_typer(evaluate.app, name="evaluate")
app.command()(doctor.doctor)
