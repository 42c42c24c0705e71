"""A table of users' attributes becomes part of the workspace, or is refused with the source, the row and the id."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest

from retrieval.data.demo import movielens_100k
from retrieval.data.import_users import import_users
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError, WorkspaceError

ITEMS = Table(pl.LazyFrame({"item_id": ["a", "b"], "title": ["A", "B"]}), "items.csv")
EVENTS = Table(pl.LazyFrame({"user_id": ["u", "v", "u"], "item_id": ["a", "a", "b"]}), "events.csv")
USERS = Table(pl.LazyFrame({"user_id": ["u", "v", "w"], "age": ["24", "53", ""]}), "people.csv")


def users_of(columns, **options):
    return import_users(Table(pl.DataFrame(columns, strict=False).lazy(), "people.csv"), {}, **options)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path):
    create_workspace(tmp_path / "shop", ITEMS, EVENTS, USERS)
    return tmp_path / "shop"


def test_users_keep_their_order_and_get_tidy_fields():
    frame, report = users_of(
        {"UserID": [" v", "u"], "Age": ["53", "24"], "Zip Code": ["02215", None], "new": [True] * 2}
    )
    assert frame.to_dicts() == [
        {"user_id": "v", "age": 53, "zip_code": "02215", "new": True},
        {"user_id": "u", "age": 24, "zip_code": None, "new": True},
    ]
    assert (report.rows, report.kept, report.left_out, report.columns) == (2, 2, {}, {"user_id": "UserID"})


def test_fields_of_users_are_never_lists():
    frame, report = users_of({"id": ["u"], "title": ["Dr|Prof"], "likes": [["x", "y"]]})
    assert frame.to_dicts() == [{"user_id": "u", "title": "Dr|Prof"}]
    assert report.notes == ["likes: left out, its type List(String) cannot be used"]


BAD_USERS = [
    (["u", "v", "u"], r"data row 3 \('u'\): id used before", "id used before"),
    (["u", "v", " u "], r"data row 3 \('u'\): id used before", "id used before"),
    (["u", None, "w"], "data row 2: no id", "no id"),
    (["u", " ", "w"], "data row 2: no id", "no id"),
]


@pytest.mark.parametrize(("ids", "message", "problem"), BAD_USERS)
def test_first_bad_user_is_named_or_left_out(ids, message, problem):
    with pytest.raises(InputError, match=rf"^people\.csv, {message}; mend it.*: --skip-invalid$"):
        users_of({"id": ids, "age": [1, 2, 3]})
    frame, report = users_of({"id": ids, "age": [1, 2, 3]}, skip_invalid=True)
    assert len(frame) == report.kept == 2
    assert report.left_out == {problem: 1}


def test_text_without_end_is_refused():
    with pytest.raises(InputError, match=r"data row 1 \('u'\): a text of more than 100,000 characters"):
        users_of({"id": ["u"], "about": ["x" * 100_001]})


@pytest.mark.parametrize("rows", [[], [None]])
def test_table_without_users_is_refused(rows):
    with pytest.raises(InputError, match=r"^people\.csv: no user in it$"):
        users_of({"id": pl.Series(rows, dtype=pl.String)}, skip_invalid=True)


def test_table_without_a_column_for_ids_is_refused(tmp_path):
    people = Table(pl.LazyFrame({"login": ["u"], "age": [24]}), "people.csv")
    with pytest.raises(InputError, match=r"people\.csv: no column for user_id among login, age; name it with --map"):
        create_workspace(tmp_path / "shop", ITEMS, EVENTS, people)
    for target in ("user_id", "users.user_id"):
        create_workspace(tmp_path / target, ITEMS, EVENTS, people, overrides={target: "login"})
        assert Workspace(tmp_path / target).users().to_dicts() == [{"user_id": "u", "age": 24}]


@pytest.mark.parametrize("name", ["user_id", "Age"])
def test_names_that_are_the_same_once_tidied_are_refused(name):
    with pytest.raises(InputError, match=f"two columns of the users table are called '{name.lower()}' once tidied"):
        import_users(Table(pl.LazyFrame({"who": ["u"], "age": [1], name: [2]}), "people.csv"), {"user_id": "who"})


def test_workspace_has_the_users_also_those_without_events(root):
    users = Workspace(root).users()
    assert users.to_dict(as_series=False) == {"user_id": ["u", "v", "w"], "age": [24, 53, None]}
    people = json.loads((root / "data" / "import.json").read_text())["people"]
    assert (people["source"], people["kept"], people["notes"]) == ("people.csv", 3, [])


def test_users_with_events_who_are_not_in_the_table_are_counted(tmp_path):
    imported = create_workspace(tmp_path / "shop", ITEMS, EVENTS, Table(USERS.frame.slice(1), "people.csv"))
    assert imported.users == 2
    assert imported.people.notes == ["1 of the 2 users with events are not in it"]


def test_users_need_no_events(tmp_path):
    assert create_workspace(tmp_path / "shop", ITEMS, None, USERS).people.kept == 3
    assert Workspace(tmp_path / "shop").users().height == 3


def test_workspace_without_such_a_table_has_none(tmp_path):
    assert create_workspace(tmp_path / "shop", ITEMS, EVENTS).people is None
    assert Workspace(tmp_path / "shop").users() is None


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no parquet at all, and longer than a footer"])
def test_damaged_users_are_refused(root, damage):
    (root / "data" / "users.parquet").write_bytes(damage)
    with pytest.raises(WorkspaceError, match=r"users\.parquet cannot be read \(.*\); import it again: whyrec init"):
        Workspace(root).users()


def test_users_without_an_id_column_are_refused(root):
    pl.DataFrame({"age": [24]}).write_parquet(root / "data" / "users.parquet")
    with pytest.raises(WorkspaceError, match=r"users\.parquet cannot be read"):
        Workspace(root).users()


def test_bad_users_leave_everything_as_it_was(root, tmp_path):
    bad = Table(pl.LazyFrame({"user_id": ["u", "u"]}), "people.csv")
    (root / ".lock").touch()  # left by every command that has written the workspace
    before = content(root)
    with pytest.raises(InputError, match="user_id used before"):
        create_workspace(root, ITEMS, EVENTS, bad, replace=True)
    with pytest.raises(InputError, match="user_id used before"):
        create_workspace(tmp_path / "new", ITEMS, EVENTS, bad)
    assert content(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_init_reports_users_and_says_when_replacing_loses_them(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title\n1,Alien\n")
    (tmp_path / "events.csv").write_text("user,item\nann,1\nbob,1\n")
    (tmp_path / "people.csv").write_text("login,age\nann,30\nann,31\n")
    files = ["--items", "items.csv", "--events", "events.csv"]
    users = ["--users", "people.csv", "--map", "users.user_id=login", "--skip-invalid"]

    def init(*arguments):
        command = [sys.executable, "-c", "from agent.cli import main; main()", "init", "ws", *files, *arguments]
        result = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=True
        )
        return result.stderr

    told = init(*users)
    assert "users: 1 of 2 rows kept (people.csv)\n  columns: user_id = login\n" in told
    assert "  left out: 1 with login used before\n  1 of the 2 users with events are not in it\n" in told
    assert "are gone" not in init("--replace", *users)
    assert "note: the users' attributes from before are gone: these data have none" in init("--replace")
    assert Workspace(tmp_path / "ws").users() is None
    assert "are gone" not in init("--replace")


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package `recbole` with a film, a user and a rating; importing it would fail."""
    folder = tmp_path / "recbole" / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    (tmp_path / "recbole" / "__init__.py").write_text("raise RuntimeError('imported')")
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    films = "1\tToy Story\t1995\tAnimation Children's Comedy\n2\tunkonwn\tunkonwn\tunknown\n3\tOh no\tV\tunknown War\n"
    (folder / "ml-100k.item").write_text(header + films)
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t4\t881250949\n"
    )
    people = (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n7\t57\tM\tadministrator\t91344\n"
    )
    (folder / "ml-100k.user").write_text(people)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])


@pytest.mark.usefixtures("packaged")
def test_recboles_movielens_gets_years_and_genres(tmp_path):
    imported = create_workspace(tmp_path / "ws", *movielens_100k())
    workspace = Workspace(tmp_path / "ws")
    assert workspace.catalog.frame.rows() == [
        ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        ("2", "unkonwn", None, []),
        ("3", "Oh no", None, ["War"]),
    ]
    assert workspace.catalog.text("1") == "Toy Story (1995). Genres: Animation, Children's, Comedy"
    assert workspace.users().to_dicts() == [{"user_id": "7", "age": 57, "gender": "M", "occupation": "administrator"}]
    assert workspace.events().collect().rows() == [("7", "1", 4.0, 881250949000)]
    assert (imported.times, imported.people.source) == ("seconds", "MovieLens-100k, users")


def test_demo_that_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InputError, match=r"the demo data are not installed: pip install --no-deps 'recbole>=1\.2\.1'"):
        movielens_100k()
