"""`whyrec finetune`: models tuned on the events of a workspace."""

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import SplitOption, TrialsOption
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.cli.options import Opened
    from agent.gate import Gate
    from agent.settings import Settings

app = typer.Typer(help="Tune models on the events of the workspace.", no_args_is_help=True)

BaseOption = Annotated[
    str | None,
    typer.Option(
        help="The language model to tune: a name, a folder, a GGUF file or a Hugging Face id.",
        show_default="as in the settings",
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted tuning stopped.")]


@app.callback()
def finetune() -> None:
    """Tune models on the events of the workspace."""


@app.command()
def encoder(
    resume: ResumeOption = False,
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


@app.command()
def ranker(
    split: SplitOption = None,
    lists: Annotated[
        int, typer.Option(min=0, help="How many lists are learnt from; 0: the one it starts from is proven as it is.")
    ] = 1_000,
    rate: Annotated[float, typer.Option(min=1e-6, max=1, help="The highest learning rate.")] = 8e-4,
    trials: TrialsOption = 20,
    base: BaseOption = None,
    start_from: Annotated[
        str, typer.Option(help="auto: the packaged ranker, where it fits; none; or a folder with rankers.")
    ] = "auto",
    log: Annotated[
        Path | None, typer.Option(help="A folder for TensorBoard's log.", show_default="none is written")
    ] = None,
    judge: Annotated[
        int, typer.Option(min=2, help="How many validation lists a remote model is asked about, at most.")
    ] = 100,
    resume: ResumeOption = False,
    seed: Annotated[int, typer.Option(min=0, help="For the split and for what is drawn in training.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Tune the language model to rank what the scorers find, and let it order lists where validation proves the gain.

    Learns an adapter (LoRA) from lists made of training events. The test part of the split is not touched. Takes a
    quarter of an hour on two cores; the state is on disk after each 25 steps. On several GPUs, give the same options to
    accelerate launch -m agent.cli finetune ranker. A remote model (the setting remote.ranker) is not tuned: --lists 0
    proves it as it is, with a question for each candidate of the lists that judge it.

    Example:  whyrec finetune ranker --split cold-items --lists 2000
    """
    from agent.evaluation.study import Question
    from agent.models import Models
    from agent.ranker_tuning import Plan, RankerTuner, find_start
    from agent.ranking_lists import RankingLists, find_retrieval
    from agent.settings import RANKER
    from agent.tuned_study import open_study
    from agent.unfinished import UNFINISHED, check_resumable
    from finetune.lora import LoraTuning, processes
    from retrieval.errors import InputError

    opened = open_workspace(workspace)
    if opened.settings.remote.ranker:
        _prove_remote(opened, split, lists, trials, judge, seed, form)
        return
    folder = opened.workspace.root / RANKER
    if resume:
        check_resumable(folder / UNFINISHED)
    settings = with_base(opened.settings, base)
    models = Models(settings, say)
    study = open_study(opened.workspace, settings, models, Question(split.value if split else None), seed)
    say(f"Tuning the language model {models.language_model_name} ({models.language_model_fingerprint})")
    together = processes(settings.device)
    with opened.workspace.writing() if together.is_main_process else nullcontext(), Steps() as watch:
        with together.main_process_first():
            start = find_start(start_from, models, study)
            if start:
                say(f"Starting from the ranker {start.version}")
            elif not lists and start_from == "auto":
                why = "has learnt from these items or events" if models.packaged_ranker else "is for another model"
                raise InputError(
                    f"the packaged ranker {why}, so it cannot be proven here; tune one without --lists 0, or prove the "
                    "language model as it is with --start-from none"
                )
            source = RankingLists(study, find_retrieval(study, trials, watch))
        tuning = LoraTuning(rate=rate, seed=seed)
        seen = log if together.is_main_process else None
        tuner = RankerTuner([source], models, Plan(lists), tuning, folder, watch, start, seen)
        outcome = tuner.run(shlex.join(["whyrec", *sys.argv[1:]]), resume=resume)
    if not together.is_main_process:
        return
    (gate,) = outcome.gates.values()
    _print_gate(gate, form)
    say(
        f"Kept as models/ranker/{outcome.version}. NDCG@10 on validation; gain above: 95 % sure; alpha: the LM's weight"
    )
    say_base(base, opened.settings)
    if not gate.opens:
        note("no gain is proven; the language model orders nothing, and everything stays as it is")


def _prove_remote(
    opened: "Opened", split: SplitOption, lists: int, trials: int, judge: int, seed: int, form: Format
) -> None:
    """Judge the remote model as it is."""
    if lists:
        raise typer.BadParameter("a remote model cannot be tuned; --lists 0 proves it as it is")
    from agent.evaluation.study import Question
    from agent.models import Models
    from agent.ranking_lists import RankingLists, find_retrieval
    from agent.remote.proof import prove
    from agent.settings import REMOTE_RANKER
    from agent.tuned_study import open_study

    models, folder = Models(opened.settings, say), opened.workspace.root / REMOTE_RANKER
    question = Question(split.value if split else None)
    study = open_study(opened.workspace, opened.settings, models, question, seed)
    say(f"Judging {models.remote.settings.name} on at most {judge * opened.settings.ranking.candidates:,} candidates")
    with opened.workspace.writing(), Steps() as watch:
        source = RankingLists(study, find_retrieval(study, trials, watch))
        command = shlex.join(["whyrec", *sys.argv[1:]])
        gate, version = prove(source, models, judge, seed, folder, watch, command)
    _print_gate(gate, form)
    say(f"Kept as models/remote-ranker/{version}. NDCG@10 on validation; gain above: 95 % sure")
    if not gate.opens:
        note("no gain is proven; the remote model orders nothing, and everything stays as it is")


def _print_gate(gate: "Gate", form: Format) -> None:
    from agent.gate import said_gains

    rows = [
        {
            "items": stratum.kind,
            "people": stratum.people,
            "lists": stratum.lists,
            "retrieved": round(stratum.before, 4),
            "with LM": round(stratum.after, 4),
            "gain above": round(stratum.low, 4),
            "in each draw": said_gains(stratum.gains),
            "alpha": stratum.alpha,
        }
        for stratum in gate.strata
    ]
    print_rows(rows, form)


def with_base(settings: "Settings", base: str | None) -> "Settings":
    """The settings with another language model, where one was asked for."""
    if not base:
        return settings
    chosen = settings.language_model.model_copy(update={"model": base})
    return settings.model_copy(update={"language_model": chosen})


def say_base(base: str | None, settings: "Settings") -> None:
    """How an adapter of another language model than the settings' comes into use."""
    if base and base != settings.language_model.model:
        say(f'To use it, set model = "{base}" under [language_model] in whyrec.toml')


@app.command()
def writer(
    rounds: Annotated[
        int, typer.Option(min=1, help="The first learns from a grammar, each further one from the model's own as well.")
    ] = 3,
    rate: Annotated[float, typer.Option(min=1e-6, max=1, help="The highest learning rate.")] = 8e-4,
    base: BaseOption = None,
    resume: ResumeOption = False,
    seed: Annotated[int, typer.Option(min=0, help="For what is drawn in training, and for what is written.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Tune the language model to word explanations, for any items: it learns from sentences alone, and from no data.

    Learns an adapter (LoRA) beside the ranker's. The sentences have slots where names, values and numbers go; in each
    round the model's own that pass all checks join what the next one learns from. Takes minutes; the state is on disk
    after each 25 steps. Not needed for the packaged language model, whose writer comes with whyrec.

    Example:  whyrec finetune writer --base gemma3-270m
    """
    from dataclasses import asdict

    from agent.models import Models
    from agent.settings import ADAPTERS
    from agent.unfinished import UNFINISHED, check_resumable
    from agent.writer_tuning import Plan, WriterTuner, lora_tuning

    opened = open_workspace(workspace)
    folder = opened.workspace.root / ADAPTERS["writer"]
    if resume:
        check_resumable(folder / UNFINISHED)
    models = Models(with_base(opened.settings, base), say)
    say(f"Tuning the language model {models.language_model_name} ({models.language_model_fingerprint})")
    with opened.workspace.writing(), Steps() as watch:
        tuner = WriterTuner(models, Plan(rounds), lora_tuning(rate, seed), folder, watch)
        version, found = tuner.run(shlex.join(["whyrec", *sys.argv[1:]]), resume=resume)
    print_rows([{"round": number, **asdict(one)} for number, one in enumerate(found, 1)], form)
    say(f"Kept as models/writer/{version}. Sentences: how many were written, came to an end, passed all checks, …")
    say_base(base, opened.settings)


@app.command()
def intent(
    steps: Annotated[int, typer.Option(min=1, help="Of training, sixteen utterances each.")] = 450,
    rate: Annotated[float, typer.Option(min=1e-6, max=1, help="The highest learning rate.")] = 8e-4,
    base: BaseOption = None,
    resume: ResumeOption = False,
    seed: Annotated[int, typer.Option(min=0, help="For the utterances that are made.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Tune the language model to read what people say in a chat, about the items of the workspace.

    Learns an adapter (LoRA) beside the ranker's, from utterances put together of phrasings, titles and attributes, and
    from nothing that anybody did. Takes half an hour on two cores; the state is on disk after each 25 steps. Not
    needed for the packaged language model, whose reader comes with whyrec.

    Example:  whyrec finetune intent --base gemma3-270m
    """
    from agent.intent_tuning import IntentTuner, Plan, lora_tuning
    from agent.models import Models
    from agent.settings import ADAPTERS
    from agent.unfinished import UNFINISHED, check_resumable

    opened = open_workspace(workspace)
    folder = opened.workspace.root / ADAPTERS["intent"]
    if resume:
        check_resumable(folder / UNFINISHED)
    models = Models(with_base(opened.settings, base), say)
    say(f"Tuning the language model {models.language_model_name} ({models.language_model_fingerprint})")
    with opened.workspace.writing(), Steps() as watch:
        tuning = lora_tuning(rate, seed)
        tuner = IntentTuner(models, opened.workspace.catalog, Plan(steps), tuning, folder, watch)
        version, figures = tuner.run(shlex.join(["whyrec", *sys.argv[1:]]), resume=resume)
    print_rows([{"figure": name, "value": round(value, 3)} for name, value in figures.items()], form)
    say(f"Kept as models/intent/{version}. On utterances that it has not seen, of the same phrasings and other titles")
    say_base(base, opened.settings)
