"""A folder is written wholly or not at all, and a fingerprint follows the files."""

from pathlib import Path

import polars as pl
import pytest

from retrieval.artefacts import atomic_folder, file_fingerprint, write_parquet


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_when_the_block_ends_well(tmp_path):
    final = tmp_path / "new" / "model"
    with atomic_folder(final) as work:
        (work / "part").mkdir()
        (work / "part" / "a").write_text("one")
        assert not final.exists()
    assert (final / "part" / "a").read_text() == "one"
    assert names(final.parent) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path, error):
    def interrupted():
        with atomic_folder(tmp_path / "model") as work:
            (work / "a").write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == []


def test_existing_folder_is_refused_before_anything_is_written(tmp_path):
    final = tmp_path / "model"
    final.mkdir()
    (final / "a").write_text("old")
    with pytest.raises(FileExistsError, match="model"), atomic_folder(final):
        pytest.fail("the block must not run")
    assert (final / "a").read_text() == "old"


def test_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    final = tmp_path / "model"

    def overtaken():
        with atomic_folder(final) as work:
            (work / "a").write_text("late")
            final.mkdir()
            (final / "a").write_text("early")

    with pytest.raises(FileExistsError, match="model"):
        overtaken()
    assert (final / "a").read_text() == "early"
    assert names(tmp_path) == ["model"]


def test_existing_file_is_refused(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(FileExistsError, match="model"), atomic_folder(tmp_path / "model"):
        pytest.fail("the block must not run")
    assert (tmp_path / "model").read_text() == "a file"


def test_replacing_leaves_only_the_new_files(tmp_path):
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").write_text("old")
    with atomic_folder(final, replace=True) as work:
        (work / "new").write_text("new")
        assert names(final) == ["old"]
    assert names(final) == ["new"]
    assert names(tmp_path) == ["model"]


def test_replacing_what_is_not_there_makes_it(tmp_path):
    with atomic_folder(tmp_path / "model", replace=True) as work:
        (work / "a").write_text("one")
    assert names(tmp_path / "model") == ["a"]


def test_failed_replacement_keeps_the_old_folder(tmp_path):
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").write_text("old")

    def interrupted():
        with atomic_folder(final, replace=True) as work:
            (work / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ["model"]
    assert names(final) == ["old"]


def test_empty_folder_is_filled(tmp_path):
    final = tmp_path / "model"
    final.mkdir()
    with atomic_folder(final) as work:
        (work / "a").write_text("one")
    assert names(final) == ["a"]
    assert names(tmp_path) == ["model"]


def test_folder_behind_a_link_is_the_one_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_folder(tmp_path / "link", replace=True) as work:
        (work / "a").write_text("one")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]


@pytest.fixture
def two_files(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_fingerprint_is_the_same_in_any_order_and_place(tmp_path, two_files):
    (tmp_path / "copy").mkdir()
    copies = [path.rename(tmp_path / "copy" / path.name) for path in two_files]
    for path in two_files:
        path.write_text(path.name)
    fingerprint = file_fingerprint(two_files)
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert fingerprint == file_fingerprint(two_files[::-1]) == file_fingerprint(copies)


def test_fingerprint_changes_with_a_name_a_content_or_a_file(two_files):
    a, b = two_files
    before = file_fingerprint(two_files)
    assert file_fingerprint([a]) != before
    renamed = b.rename(b.with_name("c"))
    assert file_fingerprint([a, renamed]) != before
    b.write_text("other")
    assert file_fingerprint([a, b]) != before
    b.write_text("b")
    assert file_fingerprint([a, b]) == before


def test_fingerprint_of_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_fingerprint([tmp_path / "none"])


def test_what_was_there_survives_a_failing_last_step(tmp_path, monkeypatch):
    final = tmp_path / "artefact"
    final.mkdir()
    (final / "old").write_text("old")
    rename = Path.rename

    def interrupted(self, target):
        if self.name.startswith(".artefact.part-") and not self.name.endswith(".old"):
            raise KeyboardInterrupt
        return rename(self, target)

    with pytest.raises(KeyboardInterrupt), atomic_folder(final, replace=True) as folder:  # noqa: PT012
        (folder / "new").write_text("new")
        monkeypatch.setattr(Path, "rename", interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]
    assert (final / "old").read_text() == "old"


def test_a_full_disk_names_the_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_parquet(pl.LazyFrame({"a": [1]}), tmp_path / "folder")
