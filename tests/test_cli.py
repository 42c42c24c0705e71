"""The commands as a person gives them: as processes, on small files."""

import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from retrieval.data.workspace import Workspace

HEAVY = ("torch", "transformers", "sentence_transformers", "peft", "chromadb", "mcp", "uvicorn")
ITEMS = "item_id,title,year,genres\n1,Alien,1979,Horror|Sci-Fi\n2,Aliens,1986,Action|Sci-Fi\n3,Heat,1995,Crime\n"
EVENTS = "userId,movieId,rating,timestamp\nann,1,5,100\nann,2,2,200\nbob,3,4,300\n"


def whyrec(*arguments, cwd=None, env=None, **options):
    return subprocess.run(
        [sys.executable, "-c", "from agent.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    return tmp_path


def init(folder, *more):
    return whyrec("init", "ws", "--items", "items.csv", "--events", "events.csv", *more, cwd=folder)


def one_line_error(result, code, *words):
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert all(word in lines[0] for word in words), lines[0]


def test_help_imports_nothing_heavy():
    code = f"""
    import sys
    from agent.cli.app import app
    try:
        app(["--help"])
    except SystemExit:
        pass
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
    assert "recommend" in result.stdout


@pytest.mark.parametrize(
    "command",
    "init index recommend explain similar chat doctor mcp compact forget export-user".split(),
)
def test_every_help_has_a_sentence_and_an_example(command):
    result = whyrec(command, "--help")
    assert result.returncode == 0
    assert f"Example:  whyrec {command}" in " ".join(result.stdout.split()).replace("Example: ", "Example:  ")


def test_init_says_what_it_understood(folder):
    result = init(folder)
    assert result.returncode == 0
    assert "user_id = userId, item_id = movieId, value = rating, timestamp = timestamp" in result.stderr
    assert "genres: split at | into a list" in result.stderr
    assert "3 of 3 rows kept" in result.stderr
    assert (folder / "ws" / "whyrec.toml").is_file()
    assert result.stdout == ""


BAD_FILES = {
    "empty": ("", ["items.csv", "empty"]),
    "no item column": ("a,b\n1,2\n", ["items.csv", "item_id", "a, b"]),
    "no title column": ("item_id,b\n1,2\n", ["items.csv", "title", "--map"]),
    "duplicate ids": ("item_id,title\n1,A\n1,B\n", ["items.csv", "row 2", "'1'"]),
    "empty text": ("item_id,title\n1,A\n2,\n", ["items.csv", "row 2", "'2'", "title"]),
    "broken UTF-8": (b"item_id,title\n1,A\n2,\xff\xfe\n", ["items.csv", "line 3", "UTF-8"]),
    "a 10 MB title": ("item_id,title\n1," + "x" * 10_000_000 + "\n", ["items.csv", "row 1", "characters"]),
    "no rows": ("item_id,title\n", ["items.csv", "no item"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_items_are_one_line_and_leave_nothing(folder, name):
    content, words = BAD_FILES[name]
    (folder / "items.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    one_line_error(init(folder), 1, *words)
    assert sorted(path.name for path in folder.iterdir()) == ["events.csv", "items.csv"]


@pytest.mark.parametrize("rating", ["abc", "NaN", "inf", ""])
def test_bad_ratings_are_named(folder, rating):
    (folder / "events.csv").write_text(EVENTS + f"ann,3,{rating},400\n")
    one_line_error(init(folder), 1, "events.csv", "row 4", "rating")
    assert not (folder / "ws").exists()
    result = init(folder, "--skip-invalid")
    assert result.returncode == 0
    assert "left out: 1 with a rating that is not a number" in result.stderr


def test_events_of_unknown_items_are_counted(folder):
    (folder / "events.csv").write_text(EVENTS + "ann,99,5,400\n")
    result = init(folder)
    assert result.returncode == 0
    assert "left out: 1 with an item that is not in the catalog" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["init", "other", "--items", "missing.csv"], 1, ["missing.csv", "no such file"]),
        (["init", "other", "--items", "items.csv", "--map", "title=nope"], 1, ["nope", "item_id, title"]),
        (["init", "other", "--items", "items.csv", "--map", "nope"], 1, ["--map nope", "role=column"]),
        (["init", "ws", "--items", "items.csv"], 1, ["ws", "--replace"]),
        (["init", "items.csv", "--items", "items.csv"], 1, ["items.csv", "is a file"]),
        (["recommend", "ann", "-w", "ws"], 1, ["no index yet", "whyrec index"]),
        (["recommend", "ann", "-w", "nowhere"], 1, ["nowhere is not a workspace", "whyrec init"]),
        (["recommend", "--like", "Quux", "-w", "ws"], 1, ["'Quux'"]),
        (["recommend", "ann", "-w", "ws", "--where", "nope = 1"], 1, ["'nope'", "item_id, title, year, genres"]),
        (["recommend", "ann", "-w", "ws", "--where", '{"$or": []}'], 1, ["cannot be understood"]),
        (["recommend", "ann", "-w", "ws", "--where", "year > old"], 1, ["year", "'old'"]),
        (["explain", "ann", "Nothing", "-w", "ws"], 1, ["'Nothing'"]),
        (["explain", "nobody", "Alien", "-w", "ws"], 1, ["'nobody'", "ann"]),
    ],
)
def test_bad_requests_are_one_line(folder, arguments, code, words):
    assert init(folder).returncode == 0
    one_line_error(whyrec(*arguments, cwd=folder), code, *words)


@pytest.mark.parametrize(
    "arguments",
    [
        "recommend",
        "recommend ann -k 0",
        "recommend ann --alpha 2",
        "recommend ann --format xml",
        "recommend ann --mode retrieval --alpha 0.5",
        "init",
        "init --demo movielens --items x",
        "init --demo movielens --noun game",
        "init --demo movielens-100k --users x",
        "init --users x",
        "init one -w two --items x",
        "similar",
        "nope",
    ],
)
def test_wrong_usage_exits_with_two(folder, arguments):
    result = whyrec(*arguments.split(), cwd=folder)
    assert result.returncode == 2
    assert "Usage:" in result.stderr


def test_a_newer_format_and_a_wrong_setting_are_refused(folder):
    assert init(folder).returncode == 0
    settings = folder / "ws" / "whyrec.toml"
    good = settings.read_text()
    settings.write_text(good.replace("format_version = 1", "format_version = 99"))
    one_line_error(whyrec("recommend", "ann", "-w", "ws", cwd=folder), 1, "format 99", "up to 1")
    settings.write_text(good + "[encoder]\nmodle = 'x'\n")
    one_line_error(whyrec("recommend", "ann", "-w", "ws", cwd=folder), 1, "encoder.modle")


def test_an_environment_variable_that_names_no_setting_is_refused(folder):
    assert init(folder).returncode == 0
    result = whyrec("recommend", "ann", "-w", "ws", cwd=folder, env={"WHYREC_ENCODR__MODEL": "x"})
    one_line_error(result, 1, "WHYREC_ENCODR__MODEL", "no setting")
    wrong = whyrec("doctor", "-w", "ws", "-f", "json", cwd=folder, env={"WHYREC_LANGUAGE_MODEL__PRECISION": "odd"})
    findings = {row["what"]: row for row in json.loads(wrong.stdout)}
    assert wrong.returncode == 1
    assert findings["settings"]["state"] == "wrong"
    assert "language_model.precision" in findings["settings"]["found"]


def test_replacing_names_the_settings_that_no_longer_fit(folder):
    assert init(folder).returncode == 0
    (folder / "events.csv").write_text("user,item\nann,1\n")
    result = init(folder, "--replace")
    assert result.returncode == 0
    assert "events.verb stays liked, these data suggest chose" in result.stderr
    assert "events.liked_from stays 4.0, these data suggest 1.0" in result.stderr
    assert init(folder, "--replace", "--noun", "game").returncode == 2


def test_hints_name_the_workspace_even_with_blanks(folder):
    assert whyrec("init", "my shop", "--items", "items.csv", cwd=folder).returncode == 0
    one_line_error(whyrec("similar", "Alien", "-w", "my shop", cwd=folder), 1, "whyrec index -w 'my shop'")


def test_a_terminals_escapes_do_not_come_through(folder):
    (folder / "items.csv").write_text('item_id,title,tag\n1,"A\x1b[31mlien",x\x1b[2J\n')
    assert whyrec("init", "ws", "--items", "items.csv", cwd=folder).returncode == 0
    row = Workspace(folder / "ws").catalog.frame.row(0)
    assert row == ("1", "A [31mlien", "x [2J")


def test_models_that_are_not_there_are_named_with_the_way_to_get_them(folder):
    assert init(folder).returncode == 0
    elsewhere = {"WHYREC_ENCODER__MODEL": "./no-encoder", "WHYREC_LANGUAGE_MODEL__MODEL": "./no-lm"}
    one_line_error(whyrec("index", "-w", "ws", cwd=folder, env=elsewhere), 1, "./no-encoder", "minilm")
    assert not (folder / "ws" / "index").exists()


def test_a_full_disk_leaves_no_workspace(folder):
    rows = "".join(f"ann,1,{n % 5},{n * 7919 % 10007}\n" for n in range(50_000))
    (folder / "events.csv").write_text(EVENTS + rows)

    def little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    one_line_error(
        whyrec("init", "ws", "--items", "items.csv", "--events", "events.csv", cwd=folder, preexec_fn=little_space),
        1,
        "too large",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["events.csv", "items.csv"]


@pytest.mark.parametrize("delay", [0.3, 0.5, 0.7, 0.9])
def test_interrupting_init_leaves_all_or_nothing(folder, delay):
    (folder / "events.csv").write_text(EVENTS + "".join(f"u{n % 999},1,{n % 5},{n}\n" for n in range(1_000_000)))
    process = subprocess.Popen(
        [sys.executable, "-c", "from agent.cli import main; main()", "init", "ws", "--items", "items.csv", "--events",
         "events.csv"], cwd=folder, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT)
    left = sorted(path.name for path in folder.iterdir())
    assert left in (["events.csv", "items.csv"], ["events.csv", "items.csv", "ws"])
    if "ws" in left:  # it came too late: all of it is there
        workspace = Workspace(folder / "ws")
        assert (len(workspace.catalog), workspace.events().collect().height) == (3, 1_000_003)


def test_doctor_finds_what_is_missing_and_what_shadows(folder):
    (folder / "agent.py").write_text("")
    result = whyrec("doctor", "-w", "ws", "--format", "json", cwd=folder.parent)
    assert result.returncode == 1
    findings = {row["what"]: row for row in json.loads(result.stdout)}
    assert findings["workspace"]["state"] == "missing"
    assert findings["import agent"]["state"] == "ok"
    assert findings["torch"]["found"].startswith("2.")
    result = subprocess.run(
        [sys.executable, "-P", "-c", "from agent.cli import main; main()", "doctor", "--format", "json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    findings = {row["what"]: row for row in json.loads(result.stdout)}
    assert findings["import agent"]["state"] == "warning"
    assert str(folder / "agent.py") in findings["import agent"]["found"]


def test_formats_hold_the_same_rows(capsys):
    from agent.cli.console import Format, print_rows

    rows = [{"item_id": "1", "title": 'A "quoted", title', "stages": {"retrieve": 0.5}}]
    print_rows(rows, Format.json)
    assert json.loads(capsys.readouterr().out) == rows
    print_rows(rows, Format.ndjson)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    print_rows(rows, Format.csv)
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert read == [{"item_id": "1", "title": 'A "quoted", title', "stages": '{"retrieve": 0.5}'}]


def test_markup_in_a_title_is_printed_as_it_is(capsys):
    from agent.cli.console import Format, complain, print_rows

    print_rows([{"title": "[red]Alien[/red]"}], Format.table)
    complain("no item [bold]x[/bold]")
    captured = capsys.readouterr()
    assert "[red]Alien[/red]" in captured.out
    assert "no item [bold]x[/bold]" in captured.err
