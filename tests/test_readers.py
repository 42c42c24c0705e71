"""Tables open in every format, and files that are not what they seem are refused by name."""

import gzip

import polars as pl
import pytest

from retrieval.data.readers import scan_table
from retrieval.errors import InputError

CSV = 'id,title\n1,"""Ali"", the one"\n2,Été 🎬\n'
TSV = 'id\ttitle\n1\t"""Ali"", the one"\n2\tÉté 🎬\n'
NDJSON = '{"id": "1", "title": "\\"Ali\\", the one"}\n{"id": "2", "title": "Été 🎬"}\n'
ATOMIC = 'id:token\ttitle:token\n1\t"Ali", the one\n2\tÉté 🎬\n'
ROWS = [{"id": "1", "title": '"Ali", the one'}, {"id": "2", "title": "Été 🎬"}]


def zstd(data: bytes) -> bytes:
    """One frame with one uncompressed block (RFC 8878), so that no compressor is needed."""
    size = len(data)
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + (size << 3 | 1).to_bytes(3, "little") + data


def rows_of(path):
    table = scan_table(path)
    return table.collect(table.frame).to_dicts()


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("ending", "compress"), [("", bytes), (".gz", gzip.compress), (".zst", zstd)])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV),
        ("t.tsv", TSV),
        ("t.ndjson", NDJSON),
        ("t.jsonl", NDJSON),
        ("t.item", ATOMIC),
        ("t.inter", ATOMIC),
        ("t.user", ATOMIC),
    ],
)
def test_text_formats_open_plain_and_compressed(tmp_path, name, content, ending, compress):
    assert rows_of(written(tmp_path, name + ending, compress(content.encode()))) == ROWS


def test_parquet_comes_back_with_its_types(tmp_path):
    frame = pl.DataFrame({"id": [1, 2], "title": ["A", None], "tags": [["x", "y"], []]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = scan_table(tmp_path / "t.parquet")
    assert table.collect(table.frame).equals(frame)


def test_csv_values_stay_text(tmp_path):
    assert rows_of(written(tmp_path, "t.csv", "id,year,ok\n007,1999,true\n")) == [
        {"id": "007", "year": "1999", "ok": "true"}
    ]


def test_quoted_csv_fields_may_hold_line_breaks(tmp_path):
    assert rows_of(written(tmp_path, "t.csv", 'id,title\n1,"two\nlines"\n')) == [{"id": "1", "title": "two\nlines"}]


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_the_data(tmp_path):
    content = "\ufeff" + CSV.replace("\n", "\r\n")
    assert rows_of(written(tmp_path, "t.csv", content)) == ROWS


def test_ending_is_read_without_regard_to_case(tmp_path):
    assert rows_of(written(tmp_path, "T.CSV.GZ", gzip.compress(CSV.encode(), mtime=0))) == ROWS


def test_name_with_glob_characters_is_one_file(tmp_path):
    written(tmp_path, "a1.csv", "id,title\n9,no\n")
    assert rows_of(written(tmp_path, "a[0-9].csv", CSV)) == ROWS


def test_recbole_sequences_become_lists(tmp_path):
    content = "id:token\tgenres:token_seq\tvector:float_seq\tyear:float\n1\tDrama War\t0.5 2\t1999\n"
    assert rows_of(written(tmp_path, "t.item", content)) == [
        {"id": "1", "genres": ["Drama", "War"], "vector": [0.5, 2.0], "year": "1999"}
    ]


def test_recbole_sequence_of_words_is_no_sequence_of_numbers(tmp_path):
    path = written(tmp_path, "t.item", "id:token\tvector:float_seq\n1\t0.5 x\n")
    with pytest.raises(InputError, match=r"t\.item: cannot be read as item: .*\"x\""):
        rows_of(path)


def test_ndjson_fields_of_mixed_types_become_text(tmp_path):
    content = '{"id": 1, "title": "A"}\n{"id": "x", "title": 3}\n'
    assert rows_of(written(tmp_path, "t.ndjson", content)) == [{"id": "1", "title": "A"}, {"id": "x", "title": "3"}]


def test_ndjson_lines_may_lack_fields(tmp_path):
    content = '{"id": "1"}\n{"id": "2", "title": "B"}\n'
    assert rows_of(written(tmp_path, "t.ndjson", content)) == [{"id": "1", "title": None}, {"id": "2", "title": "B"}]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        scan_table(tmp_path / "nowhere.csv")


def test_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        scan_table(tmp_path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.ndjson", "t.item", "t.csv.gz"])
def test_empty_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: the file is empty"):
        scan_table(written(tmp_path, name, ""))


@pytest.mark.parametrize(("name", "content"), [("t.csv", b"\n\n"), ("t.csv.gz", gzip.compress(b"", mtime=0))])
def test_file_without_a_header_is_refused(tmp_path, name, content):
    with pytest.raises(InputError, match=rf"{name}: cannot be read as csv: empty CSV"):
        rows_of(written(tmp_path, name, content))


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.gz", ".csv"])
def test_unknown_ending_lists_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"unknown format; the name must end in one of \.csv, \.tsv, \.parquet"):
        scan_table(written(tmp_path, name, "id,title\n"))


@pytest.mark.parametrize("content", ["PAR1", "id,title\n1,A, and so on for a while\n"])
def test_parquet_that_is_none_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"t\.parquet: cannot be read as parquet"):
        scan_table(written(tmp_path, "t.parquet", content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"id,title\n1,A\n2,caf\xe9\n"),
        ("t.tsv", b"id\ttitle\n1\tA\n2\tcaf\xe9\n"),
        ("t.item", b"id:token\ttitle:token\n1\tA\n2\tcaf\xe9\n"),
        ("t.csv.gz", gzip.compress(b"id,title\n1,A\n2,caf\xe9\n", mtime=0)),
        ("t.ndjson", b'{"id": 1}\n{"id": 2}\n{"title": "caf\xe9"}\n'),
    ],
)
def test_broken_utf8_is_named_with_its_line(tmp_path, name, content):
    with pytest.raises(InputError, match=rf"{name}, line 3: not valid UTF-8; convert the file"):
        rows_of(written(tmp_path, name, content))


def test_broken_utf8_in_zstd_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv\.zst: cannot be read as csv: .*utf-8"):
        rows_of(written(tmp_path, "t.csv.zst", zstd(b"id,title\n1,caf\xe9\n")))


def test_row_with_too_many_fields_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv, line 3: more fields than the header has"):
        rows_of(written(tmp_path, "t.csv", "id,title\n1,A\n2,B,C\n"))


def test_row_with_too_few_fields_has_missing_values(tmp_path):
    assert rows_of(written(tmp_path, "t.csv", "id,title\n1\n2,B\n")) == [
        {"id": "1", "title": None},
        {"id": "2", "title": "B"},
    ]


def test_quote_that_never_ends_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv: cannot be read as csv"):
        rows_of(written(tmp_path, "t.csv", 'id,title\n1,"A\n2,B\n'))


@pytest.mark.parametrize("content", ['{"id": 1}\n{"id": \n', "hello\n", "5\n", '[{"id": 1}]\n', "\n\n"])
def test_ndjson_that_is_none_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"t\.ndjson: cannot be read as ndjson"):
        rows_of(written(tmp_path, "t.ndjson", content))


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
def test_file_cut_off_while_compressed_is_refused(tmp_path, ending, compress):
    whole = compress("".join(["id,title\n", *(f"{n},{n * n}\n" for n in range(1000))]).encode())
    with pytest.raises(InputError, match="cannot be read as csv"):
        rows_of(written(tmp_path, f"t.csv{ending}", whole[:-200]))


def test_utf_16_is_named_with_the_way_out(tmp_path):
    (tmp_path / "t.csv").write_bytes("id,title\n1,A\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"t\.csv: is UTF-16; convert it with: iconv"):
        scan_table(tmp_path / "t.csv")
