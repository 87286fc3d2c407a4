from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tenure.core.errors import InputError
from tenure.source.delimited import read_header
from tests.source.project import balanced, logins, only_report, rejects, take_in_events, write_csv

GOOD = "customer_id,time\na,2026-01-05\n"


def put(tmp_path: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_ids_keep_every_character(tmp_path: Path) -> None:
    ids = [
        "00123",
        "123",
        "1e5",
        " 7",
        "7",
        "TRUE",
        "NULL",
        "NA",
        "#1",
        "Zoe\u0308",
        "Zoë",
        "a,b",
        'say "hi"',
        "two\nlines",
        "'x'",
    ]
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [(name, "2026-01-05") for name in ids])
    done = take_in_events(tmp_path, path="log.csv")
    assert sorted(name for (name,) in logins(done, "customer_id")) == sorted(ids)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a;b,c|d\te", "2026-01-05")], delimiter=delimiter)
    assert logins(take_in_events(tmp_path, path="log.csv"), "customer_id") == [("a;b,c|d\te",)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_ending_is_read(tmp_path: Path, ending: str) -> None:
    inside = ["x\r\ny", "x\ny", "x\ry"]
    put(tmp_path, ending.join(["customer_id,time", *(f'"{text}",2026-01-05' for text in inside), "a,2026-01-05", ""]))
    stored = logins(take_in_events(tmp_path, path="log.csv"), "customer_id")
    assert sorted(customer for (customer,) in stored) == sorted(["a", *inside])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", b"\xef\xbb\xbf" + GOOD.encode()),
        ("log.csv", b"\n\n" + GOOD.encode()),
        ("log.csv", GOOD.rstrip("\n").encode()),
        ("log.csv", GOOD.replace(",", " , ").encode()),
        ("log.tsv", GOOD.replace(",", "\t").encode()),
        ("log.txt", GOOD.encode()),
        ("log.CSV", GOOD.encode()),
        ("log.csv.gz", gzip.compress(GOOD.encode(), mtime=0)),
    ],
)
def test_common_forms_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    put(tmp_path, content, name)
    assert [customer.strip() for (customer,) in logins(take_in_events(tmp_path, path=name), "customer_id")] == ["a"]


def test_files_of_a_glob_may_order_their_columns_otherwise(tmp_path: Path) -> None:
    put(tmp_path, "customer_id,time\na,2026-01-05\n", "1.csv")
    put(tmp_path, "extra;time;customer_id\nx;2026-01-06;b\n", "2.csv")
    put(tmp_path, "customer_id,time\nc,2026-01-07\n,2026-01-07\n", "3.csv")
    done = take_in_events(tmp_path, path="?.csv")
    assert logins(done, "customer_id") == [("a",), ("b",), ("c",)]
    assert rejects(only_report(done))[0]["file"] == str(tmp_path / "3.csv")


def test_a_line_that_is_no_row_is_rejected_with_its_number(tmp_path: Path) -> None:
    put(tmp_path, "customer_id,time,n\na,2026-01-05,1\nb,2026-01-05\nc,2026-01-05,1,2\nd,2026-01-05,1\n")
    report = only_report(take_in_events(tmp_path, path="log.csv"))
    assert (report.rows, report.accepted, report.rejected) == (4, 2, {"malformed line": 2})
    assert balanced(report)
    assert [(row["file"], row["row"]) for row in rejects(report)] == [
        (f"{tmp_path / 'log.csv'}:3", "b,2026-01-05"),
        (f"{tmp_path / 'log.csv'}:4", "c,2026-01-05,1,2"),
    ]


def test_bytes_that_are_no_utf_8_are_rejected(tmp_path: Path) -> None:
    put(tmp_path, "customer_id,time\nMüller,2026-01-05\nb,2026-01-05\n".encode("latin-1"))
    report = only_report(take_in_events(tmp_path, path="log.csv"))
    assert (report.rows, report.rejected) == (2, {"malformed line": 1})


def test_an_open_quote_is_an_error_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, 'customer_id,time\na,2026-01-05\n"b,2026-01-05\n' + "c,2026-01-05\n" * 50)
    with pytest.raises(InputError, match="a double quote opens in line 3") as caught:
        take_in_events(tmp_path, path="log.csv")
    assert caught.value.ids["line"] == 3


def test_an_open_quote_far_from_the_end_is_found_too(tmp_path: Path) -> None:
    put(tmp_path, 'customer_id,time\na,2026-01-05\n"b,2026-01-05\n' + "c,2026-01-05\n" * 300_000)
    with pytest.raises(InputError, match="a double quote opens in line 3"):
        take_in_events(tmp_path, path="log.csv")


def test_several_kinds_of_line_ending_in_one_file_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, "customer_id,time\r\na,2026-01-05\nb,2026-01-05\r\n")
    with pytest.raises(InputError, match="some lines end otherwise than the first"):
        take_in_events(tmp_path, path="log.csv")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\n\n \n", "is empty"),
        ("customer_id,time\n".encode("utf-16"), "is UTF-16, not CSV"),
        (b"PK\x03\x04 and so on", "a zip archive or a spreadsheet"),
        (b"customer_id,t\xffme\n", "cannot be read as CSV"),
        (b"customer_id,time,time\na,b,c\n", "several columns of the same name: 'time', 'time'"),
        (b"customer_id,Time,time\na,b,c\n", "several columns of the same name: 'Time', 'time'"),
    ],
)
def test_a_file_without_a_header_that_can_be_read_is_an_error(tmp_path: Path, content: bytes, problem: str) -> None:
    put(tmp_path, content)
    with pytest.raises(InputError, match=problem):
        take_in_events(tmp_path, path="log.csv")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD.encode() * 500, mtime=0)[:-30], GOOD.encode(), b"\x1f\x8b rest"],
    ids=["cut", "plain", "rest"],
)
def test_a_damaged_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content, "log.csv.gz")
    with pytest.raises(InputError, match=r"log\.csv\.gz"):
        take_in_events(tmp_path, path="log.csv.gz")


def test_unnamed_columns_get_a_name(tmp_path: Path) -> None:
    path = put(tmp_path, ",customer_id,time\n0,a,2026-01-05\n")
    assert read_header(path).names == ("column1", "customer_id", "time")


def test_a_header_may_span_lines(tmp_path: Path) -> None:
    put(tmp_path, '"customer\nid",time\na,2026-01-05\n')
    assert logins(take_in_events(tmp_path, path="log.csv", customer="customer\nid"), "customer_id") == [("a",)]
