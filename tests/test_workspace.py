"""A workspace is made wholly or not at all, and a damaged, busy or newer one is refused."""

import json
import subprocess
import sys

import polars as pl
import pytest

from retrieval.data.readers import Table
from retrieval.data.workspace import FORMAT_VERSION, Workspace, create_workspace
from retrieval.errors import InputError, UnknownUserError, WorkspaceError

ITEMS = Table(pl.LazyFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]}), "items.csv")
EVENTS = Table(
    pl.LazyFrame(
        [("u", "b", 3.0, 2), ("u", "a", 4.0, 1), ("v", "b", 5.0, 2), ("u", "b", 1.0, 3)],
        schema=["user_id", "item_id", "rating", "timestamp"],
        orient="row",
    ),
    "events.csv",
)


@pytest.fixture
def root(tmp_path):
    create_workspace(tmp_path / "shop", ITEMS, EVENTS)
    return tmp_path / "shop"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failing(table, error):
    """The same table, whose reading breaks off with ``error``."""

    def fail(_):
        raise error

    return Table(table.frame.map_batches(fail, schema=table.frame.collect_schema()), table.source)


def events_table(*rows):
    return Table(pl.LazyFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row"), "events.csv")


def test_created_workspace_opens_with_its_items_and_events(tmp_path):
    imported = create_workspace(tmp_path / "new" / "shop", ITEMS, EVENTS, noun='"quoted" café')
    workspace = Workspace(tmp_path / "new" / "shop")
    assert workspace.catalog.ids == ["a", "b", "c"]
    assert workspace.events().collect().height == 4
    assert (imported.users, imported.liked_from, imported.times) == (2, 4.0, "order")
    settings = workspace.settings_path.read_text(encoding="utf-8")
    assert 'noun = "\\"quoted\\" café"' in settings
    assert "liked_from = 4.0" in settings
    assert json.loads((workspace.root / "data" / "import.json").read_text())["items"]["kept"] == 3


def test_events_without_a_rating_are_chosen_and_not_liked(tmp_path):
    create_workspace(tmp_path / "shop", ITEMS, Table(EVENTS.frame.drop("rating"), "events.csv"))
    assert 'verb = "chose"' in (tmp_path / "shop" / "whyrec.toml").read_text()


def test_workspace_without_events_knows_no_user(tmp_path):
    create_workspace(tmp_path / "shop", ITEMS, None)
    workspace = Workspace(tmp_path / "shop")
    assert workspace.events().collect().height == 0
    with pytest.raises(UnknownUserError, match="no user 'u': this workspace has no events"):
        workspace.history("u")


def test_missing_workspace_is_refused_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(WorkspaceError, match="shop is not a workspace; make one with: whyrec init"):
        Workspace(tmp_path / "shop")


def test_newer_format_is_refused(root):
    (root / "whyrec.toml").write_text(f"format_version = {FORMAT_VERSION + 1}")
    with pytest.raises(WorkspaceError, match=rf"has workspace format {FORMAT_VERSION + 1}, this whyrec knows up to"):
        Workspace(root)


@pytest.mark.parametrize("settings", ["", "format_version = 0", "format_version = '1'"])
def test_settings_without_a_format_are_refused(root, settings):
    (root / "whyrec.toml").write_text(settings)
    with pytest.raises(WorkspaceError, match=r"whyrec\.toml has no usable format_version"):
        Workspace(root)


@pytest.mark.parametrize("settings", [b"format_version = = 1", b"noun = '\xff'"])
def test_settings_that_are_no_toml_are_refused(root, settings):
    (root / "whyrec.toml").write_bytes(settings)
    with pytest.raises(WorkspaceError, match=r"whyrec\.toml is not valid TOML"):
        Workspace(root)


@pytest.mark.parametrize("replace", [False, True])
def test_folder_with_other_files_is_never_overwritten(tmp_path, replace):
    (tmp_path / "thesis.doc").write_text("ten years of work")
    with pytest.raises(WorkspaceError, match="holds other files; choose another place"):
        create_workspace(tmp_path, ITEMS, None, replace=replace)
    assert (tmp_path / "thesis.doc").read_text() == "ten years of work"


def test_file_in_the_place_of_the_workspace_is_kept(tmp_path):
    (tmp_path / "shop").write_text("a file")
    with pytest.raises(WorkspaceError, match="shop is a file; choose another place"):
        create_workspace(tmp_path / "shop", ITEMS, None, replace=True)
    assert (tmp_path / "shop").read_text() == "a file"


def test_existing_workspace_is_refused_and_kept(root):
    before = content(root)
    with pytest.raises(WorkspaceError, match="is a workspace already; add --replace"):
        create_workspace(root, ITEMS, None)
    assert content(root) == before


def test_replacing_imports_the_data_anew_and_keeps_settings_and_index(root):
    (root / "index").mkdir()
    (root / "index" / "old").write_text("old")
    settings = root / "whyrec.toml"
    settings.write_text(settings.read_text().replace("liked_from = ", "liked_from = 1"))
    before = settings.read_text()
    create_workspace(root, ITEMS, None, replace=True)
    assert (root / "index" / "old").read_text() == "old"
    assert settings.read_text() == before
    assert Workspace(root).events().collect().height == 0
    assert [path.name for path in root.parent.iterdir()] == ["shop"]


def test_a_newer_workspace_is_not_replaced(root):
    settings = root / "whyrec.toml"
    settings.write_text(settings.read_text().replace("format_version = 1", "format_version = 9"))
    with pytest.raises(WorkspaceError, match="format 9"):
        create_workspace(root, ITEMS, None, replace=True)
    assert "format_version = 9" in settings.read_text()


BREAKDOWNS = [
    (failing(ITEMS, KeyboardInterrupt()), EVENTS, KeyboardInterrupt),
    (ITEMS, failing(EVENTS, KeyboardInterrupt()), KeyboardInterrupt),
    (ITEMS, failing(EVENTS, RuntimeError("disk")), RuntimeError),
    (ITEMS, events_table(("u", "a", float("nan"), 1)), InputError),
    (ITEMS, events_table(("u", "nothing", 1.0, 1)), InputError),
    (Table(ITEMS.frame.head(0), "items.csv"), EVENTS, InputError),
]


@pytest.mark.parametrize(("items", "events", "error"), BREAKDOWNS)
def test_nothing_is_left_when_making_a_workspace_breaks_off(tmp_path, items, events, error):
    with pytest.raises(error):
        create_workspace(tmp_path / "shop", items, events)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("items", "events", "error"), BREAKDOWNS)
def test_existing_workspace_survives_a_replacement_that_breaks_off(root, items, events, error):
    (root / ".lock").touch()  # left by every command that has written the workspace
    before = content(root)
    with pytest.raises(error):
        create_workspace(root, items, events, replace=True)
    assert content(root) == before
    assert [path.name for path in root.parent.iterdir()] == ["shop"]


def test_wrong_column_is_refused_before_anything_is_read(tmp_path):
    unread = failing(ITEMS, RuntimeError("read"))
    with pytest.raises(InputError, match="--map title=headline: no such column"):
        create_workspace(tmp_path / "shop", unread, EVENTS, overrides={"title": "headline"})
    with pytest.raises(InputError, match=r"clicks\.csv: no column for user_id among item_id, title"):
        create_workspace(tmp_path / "shop", unread, Table(ITEMS.frame, "clicks.csv"))


def test_lock_of_another_process_is_respected_until_it_ends(root):
    script = (
        "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(root / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(WorkspaceError, match="is being written by another whyrec"), Workspace(root).writing():
            pytest.fail("the lock is held by another process")
        other.communicate(b"\n")
    with Workspace(root).writing():
        assert Workspace(root).catalog.ids == ["a", "b", "c"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no parquet at all, and longer than a footer"])
def test_damaged_items_are_refused(root, damage):
    (root / "data" / "items.parquet").write_bytes(damage)
    with pytest.raises(
        WorkspaceError, match=r"items\.parquet cannot be read \(.*\); import it again: whyrec init --replace"
    ):
        _ = Workspace(root).catalog


def test_missing_items_are_refused(root):
    (root / "data" / "items.parquet").unlink()
    with pytest.raises(WorkspaceError, match=r"items\.parquet cannot be read"):
        _ = Workspace(root).catalog


def test_items_without_an_id_column_are_refused(root):
    pl.DataFrame({"title": ["A"]}).write_parquet(root / "data" / "items.parquet")
    with pytest.raises(WorkspaceError, match=r"items\.parquet cannot be read"):
        _ = Workspace(root).catalog


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_damaged_events_are_refused(root, keep):
    part = root / "data" / "events" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:keep])
    with pytest.raises(WorkspaceError, match=r"events cannot be read \(.*\); import it again: whyrec init --replace"):
        Workspace(root).history("u")


def test_unknown_user_is_told_of_users_there_are(root):
    with pytest.raises(UnknownUserError, match="no user 'nobody'; there are, for instance, u, v; for a new person use"):
        Workspace(root).history("nobody")


def test_history_is_oldest_first_with_each_item_once_and_its_latest_value(root):
    history = Workspace(root).history("u")
    assert (history.items, history.values) == (("a", "b"), (4.0, 1.0))


def test_history_orders_equal_times_by_item(tmp_path):
    create_workspace(tmp_path / "shop", ITEMS, events_table(*[("u", item, 1.0, 7) for item in "cab"]))
    assert Workspace(tmp_path / "shop").history("u").items == ("a", "b", "c")


def test_history_without_times_follows_the_rows(tmp_path):
    events = Table(pl.LazyFrame({"user_id": ["u"] * 4, "item_id": ["c", "a", "b", "c"]}), "events.csv")
    create_workspace(tmp_path / "shop", ITEMS, events)
    assert Workspace(tmp_path / "shop").history("u").items == ("a", "b", "c")


def test_history_spans_all_parts(root):
    part = root / "data" / "events" / "part-00000.parquet"
    later = pl.read_parquet(part).with_columns(item_id=pl.lit("c"), timestamp=pl.lit(9, pl.Int64))
    later.write_parquet(part.with_name("part-00001.parquet"))
    assert Workspace(root).history("u").items == ("a", "b", "c")


@pytest.mark.parametrize(
    ("values", "liked_from"),
    [([1.0], 1.0), ([1, 2, 3], 2.0), ([3, 3, 4, 4], 4.0), ([5, 1, 1, 1], 5.0), ([0, 0, 0, 1], 1.0)],
)
def test_liked_from_is_the_upper_median_and_never_a_dislike(tmp_path, values, liked_from):
    events = {"user": ["u"] * len(values), "item": ["a"] * len(values), "rating": [float(value) for value in values]}
    items = Table(pl.LazyFrame({"id": ["a"], "title": ["A"]}), "items")
    assert create_workspace(tmp_path / "ws", items, Table(pl.LazyFrame(events), "events")).liked_from == liked_from


def test_liked_from_of_many_different_values_is_more_than_the_least(tmp_path):
    plays = [1.0] * 60 + [float(count) for count in range(2, 42)]
    events = pl.LazyFrame({"user": ["u"] * 100, "item": ["a"] * 100, "plays": plays})
    items = Table(pl.LazyFrame({"id": ["a"], "title": ["A"]}), "items")
    assert create_workspace(tmp_path / "ws", items, Table(events, "events")).liked_from == 2.0
