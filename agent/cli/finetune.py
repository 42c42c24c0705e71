"""`whyrec finetune`: models tuned on the events of a workspace."""

import shlex
import sys
from typing import Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

app = typer.Typer(help="Tune models on the events of the workspace.", no_args_is_help=True)


@app.callback()
def finetune() -> None:
    """Tune models on the events of the workspace."""


@app.command()
def encoder(
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted tuning stopped.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="For the items held out and for what is drawn in training.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Tune the sentence encoder on what people like together, and keep it if items held out prove that it helps.

    Its vectors stand beside the untuned ones once the setting encoder.tuned is on and the index is rebuilt. The test
    part of the split is not touched. Takes minutes; the state is on disk after each 40 steps.

    Example:  whyrec finetune encoder --resume
    """
    from agent.encoder_tuning import EncoderTuner
    from agent.models import Models
    from retrieval.errors import command

    opened = open_workspace(workspace)
    with opened.workspace.writing(), Steps() as watch:
        tuner = EncoderTuner(opened.workspace, opened.settings, Models(opened.settings, say), seed, watch)
        outcome = tuner.run(shlex.join(["whyrec", *sys.argv[1:]]), resume=resume)
    rows = [
        {"draw": place, "steps": draw.steps, "untuned": round(draw.before, 4), "tuned": round(draw.after, 4)}
        for place, draw in enumerate(outcome.draws, 1)
    ]
    print_rows(rows, form)
    gain = sum(draw.gain for draw in outcome.draws) / len(outcome.draws)
    say(f"NDCG@10 of items that nobody has had, by text-ease: {gain:+.4f} (more than {outcome.low:+.4f}, 95 % sure)")
    if outcome.version is None:
        note("the gain is not proven; no encoder was kept, and everything stays as it is")
        return
    say(f'Kept as models/encoder/{outcome.version}. To use it, set tuned = "on" under [encoder] in whyrec.toml; then:')
    say(f"  {command('index --rebuild', workspace)} && {command('tune', workspace)}")
