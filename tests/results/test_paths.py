"""Paths of files as models write them: what is understood, what is refused as what it is, and what is proposed."""

import os
from pathlib import Path

import pytest

from mcp_batch_tools.errors import PathNotAllowed
from mcp_batch_tools.requests.paths import resolve_input_path
from mcp_batch_tools.results.formats import SUFFIXES
from mcp_batch_tools.results.paths import FOLDER, free_name, resolve_output_path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a drive and a backslash are no other world there")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "saved here"


def resolve(path: str | None, folder: Path) -> str:
    return str(resolve_output_path(path, folder, "ID.jsonl", SUFFIXES).relative_to(folder))


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (None, "ID.jsonl"),
        ("r.jsonl", "r.jsonl"),
        (" r.jsonl\n", "r.jsonl"),
        ("`r.jsonl`", "r.jsonl"),
        ('"sub/r.jsonl" ', "sub/r.jsonl"),
        ("./r.jsonl", "r.jsonl"),
        ("a/../r.jsonl", "r.jsonl"),
        ("out.JSONL", "out.jsonl"),
        ("out.Jsonl.GZ", "out.jsonl.gz"),
        ("OUT.PARQUET", "OUT.parquet"),
        (".jsonl", "ID.jsonl"),
        ("sub/.jsonl.gz", "sub/ID.jsonl.gz"),
        ("sub/", "sub/ID.jsonl"),
        (".", "ID.jsonl"),
        ("  ", "ID.jsonl"),
        ("{folder}", "ID.jsonl"),
        ("{folder}/r.jsonl", "r.jsonl"),
        ("file://{folder}/r.jsonl", "r.jsonl"),
        ("file://localhost{url}/r%201.jsonl", "r 1.jsonl"),
        ("FILE://{url}/r.jsonl", "r.jsonl"),
        ("file:r.jsonl", "r.jsonl"),
        ("~/saved here/r.jsonl", "r.jsonl"),
        ("saved here/r.jsonl", "r.jsonl"),
        ("./saved here/r.jsonl", "r.jsonl"),
        (f"{FOLDER}/r.jsonl", "r.jsonl"),
        (f"{FOLDER}/", "ID.jsonl"),
        ("cost in $.jsonl", "cost in $.jsonl"),
        ("console.jsonl", "console.jsonl"),
    ],
)
def test_a_path_that_can_be_understood_is(folder: Path, path: str | None, file: str) -> None:
    url = str(folder).replace(" ", "%20")
    assert resolve(path and path.replace("{folder}", str(folder)).replace("{url}", url), folder) == file


def test_the_name_of_the_folder_is_not_left_out_where_something_in_it_has_that_name(folder: Path) -> None:
    (folder / FOLDER).mkdir(parents=True)
    assert resolve(f"{FOLDER}/r.jsonl", folder) == f"{FOLDER}/r.jsonl"


@pytest.mark.parametrize(
    ("path", "problem", "instead"),
    [
        ("~/Documents/r.jsonl", "outside", "r.jsonl"),
        ("../r.jsonl", "outside", "r.jsonl"),
        ("/tmp/my results.jsonl.gz", "outside", "my_results.jsonl.gz"),
        ("file:///elsewhere/r.jsonl", "outside", "r.jsonl"),
        ("results.csv", "suffix", "results.jsonl"),
        ("results", "suffix", "results.jsonl"),
        ("results.json", "suffix", "results.jsonl"),
        ("r.parquet.gz", "suffix", "r.parquet.jsonl"),
        ("r.jsonl;", "suffix", "r.jsonl"),
        ("true", "suffix", "true.jsonl"),
        ("C:\\Users\\me\\r.jsonl", "foreign", "r.jsonl"),
        ("C:/Users/me/r.PARQUET", "foreign", "r.parquet"),
        ("\\\\server\\share\\r.jsonl", "foreign", "r.jsonl"),
        ("sub\\r.jsonl", "foreign", "r.jsonl"),
        ("https://example.com/r.jsonl", "url", "r.jsonl"),
        ("s3://bucket/r.jsonl", "url", "r.jsonl"),
        ("file://server/share/r.jsonl", "url", "r.jsonl"),
        ("$HOME/r.jsonl", "variable", "r.jsonl"),
        ("${HOME}/r.jsonl", "variable", "r.jsonl"),
        ("%USERPROFILE%\\r.jsonl", "variable", "r.jsonl"),
        ("nul.jsonl", "device", "ID.jsonl"),
        ("COM1", "suffix", "ID.jsonl"),
        ("sub/aux.jsonl.gz", "device", "ID.jsonl.gz"),
        ("con/r.jsonl", "device", "r.jsonl"),
        ("x\u202e.jsonl", "invisible", "x.jsonl"),
        ("a\nb.jsonl", "invisible", "a_b.jsonl"),
        ("e" * 250 + ".jsonl", "too_long", "e" * 60 + ".jsonl"),
        ("/".join("abcdefghi") + "/r.jsonl", "too_deep", "r.jsonl"),
        ("x" * 100_000, "unusable", "x" * 60 + ".jsonl"),
        ("~nobody-of-that-name/r.jsonl", "unusable", "r.jsonl"),
        ("...", "suffix", "ID.jsonl"),
    ],
)
def test_another_path_is_refused_as_what_it_is_with_a_name_that_can_be_used(
    folder: Path, path: str, problem: str, instead: str
) -> None:
    with pytest.raises(PathNotAllowed) as refused:
        resolve(path, folder)
    assert (refused.value.problem, refused.value.instead) == (problem, instead)
    assert refused.value.folder == str(folder)
    assert resolve(instead, folder) == instead


def test_a_name_that_is_taken_is_not_proposed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "r.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    (folder / "ID.jsonl").touch()
    (folder / "ID-2.jsonl").touch()
    assert free_name("r.jsonl", folder, "ID.jsonl", SUFFIXES) == "ID-3.jsonl"


def test_nothing_is_proposed_where_the_folder_itself_cannot_be_used(folder: Path) -> None:
    folder.symlink_to(folder)
    with pytest.raises(PathNotAllowed) as refused:
        resolve("r.jsonl", folder)
    assert (refused.value.problem, refused.value.instead) == ("unusable", None)


@pytest.mark.parametrize(
    "path", [" r.jsonl ", "'r.jsonl'", "file://{folder}/r.jsonl", "saved here/r.jsonl", "~/saved here/r.jsonl"]
)
def test_a_file_of_requests_is_found_by_the_paths_that_can_be_understood(folder: Path, path: str) -> None:
    folder.mkdir()
    (folder / "r.jsonl").touch()
    assert resolve_input_path(path.replace("{folder}", str(folder)), folder) == folder / "r.jsonl"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("C:\\r.jsonl", "foreign"),
        ("https://example.com/r.jsonl", "url"),
        ("$HOME/r.jsonl", "variable"),
        ("none.jsonl", "missing"),
        ("/etc/hosts", "outside"),
    ],
)
def test_another_path_of_requests_is_refused_as_what_it_is(folder: Path, path: str, problem: str) -> None:
    folder.mkdir()
    with pytest.raises(PathNotAllowed) as refused:
        resolve_input_path(path, folder)
    assert refused.value.problem == problem
