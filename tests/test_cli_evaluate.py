"""`whyrec evaluate` and `whyrec tune` as a person gives them: as processes, without any model."""

import json
import os
import shutil
import signal
import subprocess
import sys

import polars as pl
import pytest
from evaluation_world import events, make_world
from test_cli import one_line_error
from test_cli import whyrec as whyrec_on_all_cores

from agent.cli import INTERRUPTED

SMALL = ("evaluate", "--systems", "popularity,item-knn", "--trials", "1", "-w", "ws")
LEFT_OUT = ["fused", "ranked", "twin", "student", "cosine", "soft-knn", "tower", "text-ease"]
KEYS = ["data", "split", "system", "stratum", "metric", "k", "mean", "low", "high", "n_users", "seed"]


def whyrec(*arguments, cwd=None, env=None):
    """On one thread: on cores that are busy, more of them wait for each other."""
    return whyrec_on_all_cores(*arguments, cwd=cwd, env={"OMP_NUM_THREADS": "1", **(env or {})})


@pytest.fixture(scope="module")
def folder_of_world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    make_world(folder / "ws", index=False)
    return folder


@pytest.fixture
def folder(folder_of_world, tmp_path):
    shutil.copytree(folder_of_world / "ws", tmp_path / "ws")
    return tmp_path


@pytest.fixture
def positions(tmp_path):
    """A workspace whose times are only an order."""
    make_world(tmp_path / "ws", events().with_columns(timestamp=pl.int_range(pl.len())), index=False)
    return tmp_path


def assert_plain(text):
    assert not [character for character in text if ord(character) < 32 and character != "\n"]


def test_evaluate_prints_a_table_and_writes_the_report(folder):
    result = whyrec(*SMALL, "--name", "stories", cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["system", "ndcg@10", "95", "%", "recall@10", "mrr@10", "coverage@10", "ms"]
    assert sorted(line.split()[0] for line in lines[1:]) == ["item-knn", "popularity"]
    assert_plain(result.stdout + result.stderr)
    (made,) = (folder / "ws" / "reports").glob("[!.]*")
    assert f"Report: {made.relative_to(folder) / 'report.html'}" in result.stderr
    report = json.loads((made / "report.json").read_text(encoding="utf-8"))
    best = max((row for row in report["rows"] if (row["metric"], row["k"], row["stratum"]) == ("ndcg", 10, "all")),
               key=lambda row: row["mean"])  # fmt: skip
    assert lines[1].split()[:2] == [best["system"], f"{best['mean']:.3f}"]
    assert report["meta"]["command"].endswith("evaluate --systems popularity,item-knn --trials 1 -w ws --name stories")
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "stories" in page
    assert "item-knn" in page
    assert not list(folder.glob("ws/reports/.unfinished/*"))


def test_json_holds_rows_and_nothing_else_and_without_times_the_split_is_leave_last(positions):
    result = whyrec(*SMALL, "--format", "json", "--out", "new/report", cwd=positions)
    rows = json.loads(result.stdout)
    assert all(list(row) == KEYS for row in rows)
    assert {(row["data"], row["split"]) for row in rows} == {("ws", "leave-last")}
    assert rows == json.loads((positions / "new" / "report" / "report.json").read_text(encoding="utf-8"))["rows"]
    assert not list(positions.glob("ws/reports/[!.]*"))


def test_what_is_left_out_is_a_note_and_no_traceback(folder):
    result = whyrec("evaluate", "--trials", "1", "--users", "10", "-w", "ws", cwd=folder)
    assert result.returncode == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert [note.split()[1] for note in notes] == LEFT_OUT
    assert all("whyrec index" in note for note in notes)
    assert "Traceback" not in result.stderr
    assert_plain(result.stdout + result.stderr)


def test_a_narrow_terminal_shows_every_figure_whole(folder):
    result = whyrec(*SMALL, cwd=folder, env={"COLUMNS": "40"})
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 40
    assert "…" not in result.stdout
    assert "item-knn" in "".join(line[:10].strip() for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["evaluate", "--systems", "nope"], 1, ["no system 'nope'", "popularity"]),
        (["evaluate", "--systems", "ease", "--reference", "mf"], 1, ["'mf'", "not among the systems ease"]),
        (["evaluate", "--systems", "cosine", "--trials", "1"], 1, ["cosine", "whyrec index"]),
        (["evaluate", "-w", "nowhere"], 1, ["nowhere is not a workspace", "whyrec init"]),
        (["tune"], 1, ["whyrec index -w ws"]),
        (["tune", "soft-knn"], 1, ["soft-knn", "whyrec index"]),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, arguments, code, words):
    where = () if "-w" in arguments else ("-w", "ws")
    one_line_error(whyrec(*arguments, *where, cwd=folder), code, *words)


@pytest.mark.parametrize("command", ["evaluate --systems popularity", "tune popularity"])
def test_a_temporal_split_without_times_names_the_way_out(positions, command):
    result = whyrec(*command.split(), "--split", "temporal", "-w", "ws", cwd=positions)
    one_line_error(result, 1, "'temporal' needs real times", "--split leave-last")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate --split nope", "cold-items"),
        ("evaluate --relevant nope", "liked"),
        ("evaluate --seeds 0", "--seeds"),
        ("evaluate --trials 0", "--trials"),
        ("evaluate --users 0", "--users"),
        ("evaluate --format xml", "ndjson"),
        ("evaluate --out ws", "ws exists already"),
        ("tune nope", "no scorer 'nope'; there are popularity"),
        ("tune ease --trials 0", "--trials"),
        ("tune ease --seed -1", "--seed"),
    ],
)
def test_wrong_usage_exits_with_two(folder_of_world, arguments, words):
    result = whyrec(*arguments.split(), "-w", "ws", cwd=folder_of_world, env={"COLUMNS": "200"})
    assert result.returncode == 2
    assert "Usage:" in result.stderr
    assert words in result.stderr
    assert not (folder_of_world / "ws" / "tuning").exists()


def test_tune_prints_a_table_and_keeps_what_it_found(folder):
    result = whyrec("tune", "ease", "popularity", "--trials", "2", "-w", "ws", cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["scorer", "metric", "validation", "default", "trials", "parameters"]
    stored = {name: json.loads((folder / "ws" / "tuning" / "temporal-0-liked" / f"{name}-2.json").read_text())
              for name in ("ease", "popularity")}  # fmt: skip
    for line, (name, found) in zip(lines[1:], stored.items(), strict=True):
        first = found["trials"][0]["value"]
        assert line[:2] == [name, "ndcg@10"]
        assert line[2:5] == [str(round(found["value"], 4)), str(round(first, 4)), "2"]
        assert float(line[2]) >= float(line[3])
    assert_plain(result.stdout + result.stderr)


def test_ctrl_c_is_one_line_and_what_was_measured_is_kept(folder):
    command = [sys.executable, "-c", "from agent.cli import main; main()", *SMALL, "--split", "random", "--seeds", "3"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes) as process:
        for line in process.stderr:
            if line.startswith("popularity (seed 1)"):
                break
        process.send_signal(signal.SIGINT)
        rest, out = process.stderr.read(), process.stdout.read()  # communicate() would miss lines read ahead
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert "Traceback" not in rest
    assert [line.startswith("error: interrupted") for line in rest.splitlines()].count(True) == 1
    again = whyrec(*SMALL, "--split", "random", "--seeds", "3", cwd=folder)
    assert again.returncode == 0, again.stderr
    for system in ("popularity", "item-knn"):
        assert f"note: {system} (seed 0) was measured before the interruption" in again.stderr
    assert "(seed 2) was measured before" not in again.stderr
    assert not list(folder.glob("ws/reports/.unfinished/*"))


@pytest.mark.parametrize("command", ["evaluate", "tune"])
def test_every_help_has_a_sentence_and_an_example(command):
    result = whyrec(command, "--help")
    assert result.returncode == 0
    said = " ".join(result.stdout.split())
    assert f"Example: whyrec {command}" in said
    for option in ("--split", "--trials", "--relevant", "--workspace", "--format"):
        assert option in said


def test_help_imports_nothing_heavy():
    code = """
import sys
from agent.cli.app import app
for command in ("evaluate", "tune"):
    try:
        app([command, "--help"])
    except SystemExit:
        pass
heavy = ("optuna", "sklearn", "implicit", "matplotlib", "torch")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_the_help_names_every_system():
    from agent.cli.evaluate import NAMES
    from agent.evaluation.seed_run import SYSTEMS

    assert NAMES == SYSTEMS


def test_a_table_of_strategies_has_its_words_under_their_heading(capsys):
    from agent.cli.console import Format, print_rows
    from agent.cli.tune import as_table, fusion_row, likes_row
    from agent.evaluation.fusing import ForLikes, Fusions
    from retrieval.cf.fused import Fusion

    strategies = {"weighted": Fusion("weighted", ("ease", "mf"), weights=(0.75, 0.25))}
    likes = ForLikes(Fusion("weighted", ("soft-knn", "tower"), weights=(0.25, 0.75)), 0.21, 0.02, True)
    rows = [fusion_row(Fusions(strategies, {"weighted": 0.5}, {}, "weighted", likes), "weighted"), likes_row(likes)]
    print_rows(rows, Format.table, as_table(rows))
    heading, line, named = capsys.readouterr().out.splitlines()
    assert line.index("ease 0.75") == heading.index("parameters")
    assert named.split()[:5] == ["3", "likes", "ndcg@10", "0.21", "0.02"]
