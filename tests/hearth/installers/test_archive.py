"""Archives are unpacked as they are, or refused whole; nothing is ever written outside of the target."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.installers.archive import Bounds, is_archive, unpack
from hearth.installers.failure import InstallFailed
from tests.hearth.installers.packages import member, tar_of, zip_of

FILES = {"a.txt": b"a", "deep/er/b.bin": bytes(range(256)) * 50, "empty": b"", "bin/run": b"#!/bin/sh\n"}


def unpacked(data: bytes, name: str, folder: Path, **bounds: int) -> Path:
    target = folder / "target"
    unpack(io.BytesIO(data), name, target, Bounds(**bounds))
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.zip"])
def test_every_file_comes_out_with_its_content_and_whether_it_can_be_run(name: str, tmp_path: Path) -> None:
    modes = {"bin/run": stat.S_IFREG | 0o755}
    data = zip_of(FILES, modes) if name.endswith("zip") else tar_of(FILES, executable=("bin/run",))
    assert is_archive(name)
    target = unpacked(data, name, tmp_path)
    assert contents(target) == FILES
    assert os.access(target / "bin/run", os.X_OK)
    assert not os.access(target / "a.txt", os.X_OK)


def test_entries_that_begin_with_a_dot_and_a_slash_are_fine(tmp_path: Path) -> None:
    folder = member(".", tarfile.DIRTYPE)
    target = unpacked(tar_of({"./a": b"1", "./b/./c": b"2", "b//d": b"3"}, folder), "x.tar.gz", tmp_path)
    assert contents(target) == {"a": b"1", "b/c": b"2", "b/d": b"3"}


def test_links_within_the_archive_are_kept(tmp_path: Path) -> None:
    links = [
        member("latest", tarfile.SYMTYPE, "v1/lib.so"),
        member("v1/up", tarfile.SYMTYPE, "../other"),
        member("hard", tarfile.LNKTYPE, "./v1/lib.so"),
        member("here", tarfile.SYMTYPE, "."),
    ]
    target = unpacked(tar_of({"v1/lib.so": b"code", "other": b"o"}, *links), "x.tar.gz", tmp_path)
    assert os.readlink(target / "latest") == "v1/lib.so"
    assert (target / "latest").read_bytes() == (target / "hard").read_bytes() == b"code"
    assert (target / "v1/up").read_bytes() == b"o"


def test_of_two_entries_with_one_name_the_later_one_counts(tmp_path: Path) -> None:
    first, second = tar_of({"a": b"long before"}), tar_of({"a": b"now"})
    with tarfile.open(fileobj=io.BytesIO(first)) as one, tarfile.open(fileobj=io.BytesIO(second)) as two:
        both = io.BytesIO()
        with tarfile.open(fileobj=both, mode="w:gz") as archive:
            for source in (one, two):
                archive.addfile(source.getmembers()[0], source.extractfile("a"))
    assert contents(unpacked(both.getvalue(), "x.tgz", tmp_path)) == {"a": b"now"}


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (tar_of({"../evil": b"x"}), ["'../evil'", "leads out"]),
        (tar_of({"a/../../evil": b"x"}), ["'a/../../evil'", "leads out"]),
        (tar_of({"/etc/evil": b"x"}), ["'/etc/evil'", "leads out"]),
        (tar_of({}, member("a", tarfile.SYMTYPE, "/etc/passwd")), ["'a'", "'/etc/passwd'", "leads out"]),
        (tar_of({}, member("a/b", tarfile.SYMTYPE, "../../x")), ["'a/b'", "leads out"]),
        (tar_of({}, member("a", tarfile.SYMTYPE, "..")), ["'a'", "leads out"]),
        (tar_of({}, member("a", tarfile.SYMTYPE, "")), ["'a'"]),
        (tar_of({}, member("a", tarfile.LNKTYPE, "../../etc/passwd")), ["leads out"]),
        (tar_of({}, member("a", tarfile.LNKTYPE, "missing")), ["'missing'", "no file before it"]),
        (tar_of({}, member("pipe", tarfile.FIFOTYPE)), ["'pipe'", "device"]),
        (tar_of({}, member("null", tarfile.CHRTYPE)), ["'null'", "device"]),
        (tar_of({}, member("disk", tarfile.BLKTYPE)), ["'disk'", "device"]),
        (tar_of({"a": b"", "a/b": b""}), ["'a/b'", "both a file and a folder"]),
        (tar_of({"a/b": b"", "a": b""}), ["'a'", "both a file and a folder"]),
        (tar_of({".": b"x"}), ["has no name"]),
        # Each of these links is fine by itself; together they lead out.
        (
            tar_of({"d/f": b""}, member("l", tarfile.SYMTYPE, "d/.."), member("l/m", tarfile.SYMTYPE, "..")),
            ["'l", "link"],
        ),
        (
            tar_of({}, member("x", tarfile.SYMTYPE, "y/.."), member("y", tarfile.SYMTYPE, ".")),
            ["leads out"],
        ),
        (
            tar_of({}, member("a", tarfile.SYMTYPE, "."), member("a/b", tarfile.SYMTYPE, "..")),
            ["link"],
        ),
    ],
)
def test_what_leads_out_of_a_tar_archive_refuses_it_whole(data: bytes, texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(InstallFailed) as refused:
        unpacked(data, "x.tar.gz", tmp_path)
    for text in ["x.tar.gz is refused", *texts]:
        assert text in str(refused.value)
    assert os.listdir(tmp_path) in (["target"], [])


@pytest.mark.parametrize(
    ("name", "content", "mode"),
    [
        ("../evil", b"x", 0),
        ("/evil", b"x", 0),
        ("a/../../evil", b"x", stat.S_IFREG | 0o644),
        ("link", b"../..", stat.S_IFLNK | 0o777),
        ("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
        ("link", b"a" * 5000, stat.S_IFLNK | 0o777),
        ("device", b"", stat.S_IFCHR | 0o644),
        ("socket", b"", stat.S_IFSOCK | 0o644),
    ],
)
def test_what_leads_out_of_a_zip_archive_refuses_it_whole(name: str, content: bytes, mode: int, tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"x\.zip is refused"):
        unpacked(zip_of({"fine": b"", name: content}, {name: mode}), "x.zip", tmp_path)
    assert os.listdir(tmp_path) == ["target"]


def test_links_in_a_zip_archive_are_kept(tmp_path: Path) -> None:
    data = zip_of({"a/file": b"1", "link": b"a/file"}, {"link": stat.S_IFLNK | 0o777})
    target = unpacked(data, "x.zip", tmp_path)
    assert os.readlink(target / "link") == "a/file"


@pytest.mark.parametrize("data", [tar_of({"zeros": bytes(10_000_000)}), zip_of({"zeros": bytes(10_000_000)})])
def test_a_bomb_is_refused_before_it_is_all_there(data: bytes, tmp_path: Path) -> None:
    assert len(data) < 20_000
    name = "x.zip" if data.startswith(b"PK") else "x.tgz"
    with pytest.raises(InstallFailed, match="more than 2000000 bytes"):
        unpacked(data, name, tmp_path, size_bytes=2_000_000)
    assert (tmp_path / "target/zeros").stat().st_size <= 2_000_000


def test_more_entries_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="more than 10 entries"):
        unpacked(tar_of({f"{number}": b"" for number in range(11)}), "x.tgz", tmp_path, entries=10)


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"PK\x03\x04garbage", b"\x1f\x8b\x08garbage"])
@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
def test_what_is_no_archive_is_told_so(data: bytes, name: str, tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="no whole archive"):
        unpacked(data, name, tmp_path)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["tgz", "zip"]), st.floats(0, 1), st.integers(0, 255))
def test_a_cut_or_corrupt_archive_is_read_or_refused_and_nothing_else(kind: str, where: float, byte: int) -> None:
    data = tar_of(FILES) if kind == "tgz" else zip_of(FILES)
    at = int(where * (len(data) - 1))
    for damaged in (data[:at], data[:at] + bytes([byte]) + data[at + 1 :]):
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(InstallFailed):
                unpacked(damaged, f"x.{kind}", Path(folder))
            assert os.listdir(folder) in (["target"], [])


PARTS = st.sampled_from(["a", "b", "c", "..", ".", ""])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(
    st.tuples(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]), NAMES, NAMES),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES)
def test_whatever_the_names_and_links_nothing_gets_out(entries: list[tuple[bytes, str, str]]) -> None:
    data = tar_of({}, *(member(name, type_, target) for type_, name, target in entries))
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder, "a")
        outside.write_bytes(b"untouched")
        try:
            target = unpacked(data, "x.tgz", Path(folder))
        except InstallFailed:
            return
        finally:
            assert sorted(os.listdir(folder)) == ["a", "target"]
            assert outside.read_bytes() == b"untouched"
            assert outside.stat().st_nlink == 1
        for path in target.rglob("*"):
            assert Path(os.path.realpath(path)).is_relative_to(target.resolve())


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30))
@settings(max_examples=80, deadline=None)
def test_any_text_is_a_name_within_the_target_or_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            target = unpacked(tar_of({name: b"x"}), "x.tgz", Path(folder))
        except InstallFailed:
            assert name.startswith("/") or {"..", "."} & set(name.split("/")) or not name.strip("/.")
        else:
            assert len(contents(target)) == 1
        assert os.listdir(folder) == ["target"]
