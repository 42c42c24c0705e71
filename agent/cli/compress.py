"""`whyrec compress`."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.options import (
    DEFAULT_WORKSPACE,
    FormatOption,
    ProfileChoice,
    SeedOption,
    WorkspaceOption,
    open_workspace,
)

if TYPE_CHECKING:
    from agent.compression import Point


def compress(
    lists: Annotated[int, typer.Option(min=2, help="How many people's lists the language model orders.")] = 150,
    layers: Annotated[
        int | None,
        typer.Option(min=1, help="Measure so many first layers of the language model as well.", show_default="none"),
    ] = None,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Measure the sentence encoder in int8 as well (extra onnx).")
    ] = False,
    seed: SeedOption = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Measure smaller models on validation lists, and keep those that lose at most 2 % as the profile small.

    Language model: float32, bfloat16 where the processor computes it, int8; student: float32, float16, int8. A row has
    memory and file in MiB, time of the processor, how many times as fast as the default, and NDCG@10: with 0.4 of the
    language model's say, and by it alone. The test part of the split is not touched. Takes minutes.

    Then profile = "small" in whyrec.toml, or whyrec recommend --profile small, serves so.

    Example:  whyrec compress --lists 100 --format json
    """
    from agent.compression import LANGUAGE_MODEL, MOST, STUDENT, failing, language_model_points, smallest, ways
    from agent.compression_parts import encoder_points, student_points
    from agent.evaluation.study import Question
    from agent.models import Models
    from agent.profile import PROFILE, Profile, save_profile
    from agent.ranking_lists import RankingLists, find_retrieval
    from agent.stored_student import fitting_student, save_rounded
    from agent.tuned_study import open_study

    opened = open_workspace(workspace, ProfileChoice.default)
    root, settings = opened.workspace.root, opened.settings
    with opened.workspace.writing(), Steps() as watch:
        study = open_study(opened.workspace, settings, Models(settings, say), Question(), seed)
        found = RankingLists(study, find_retrieval(study, 1, watch)).everybody
        by_encoder = encoder_points(study, settings, say, lists) if encoder else []  # first, as it may not be installed
        points = language_model_points(found, found.asked(0, lists), ways(layers), settings, watch)
        stored = fitting_student(opened.workspace)
        points += student_points(study, stored.student.config) if stored else []
        points += by_encoder
        chosen = {part: smallest(points, part) for part in (LANGUAGE_MODEL, STUDENT)}
        profile = Profile.of({part: point.name for part, point in chosen.items() if point})
        if stored and profile.student != "float32":
            save_rounded(stored, profile.student)
        rows = [point.as_row() for point in points]
        version = save_profile(root / PROFILE, profile, rows, shlex.join(["whyrec", *sys.argv[1:]]))
    print_rows(rows, form)
    for point in failing(points):
        note(f"the {point.part} in {point.name} loses {point.lost:.1%} of NDCG@10, more than {MOST:.0%}: not chosen")
    _say_chosen(chosen)
    say(f'Kept as models/profile/{version}. To use it, set profile = "small" in whyrec.toml, or give --profile small')


def _say_chosen(chosen: "dict[str, Point | None]") -> None:
    for part, point in chosen.items():
        way = "as it is by default" if point is None else f"in {point.name}"
        say(f"profile small: the {part} {way}")
