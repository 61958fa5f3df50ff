from __future__ import annotations

import re

import pytest

from flamepy.core import WILDCARD_SESSION, ObjectKey


def test_a_prefix_and_a_full_key_are_read() -> None:
    assert ObjectKey.from_path("app/session") == ObjectKey("app", "session")
    assert ObjectKey.from_path("app/session/object") == ObjectKey("app", "session", "object")
    assert ObjectKey.from_prefix("app/session") == ObjectKey("app", "session")
    assert ObjectKey.from_key("app/session/object") == ObjectKey("app", "session", "object")


def test_a_key_is_written_as_it_is_read() -> None:
    prefix, full = ObjectKey("app", "session"), ObjectKey("app", "session", "object")
    assert (prefix.to_prefix(), prefix.to_key(), str(prefix)) == ("app/session", None, "app/session")
    assert (full.to_prefix(), full.to_key(), str(full)) == ("app/session", "app/session/object", "app/session/object")


def test_what_belongs_to_no_session_is_shared() -> None:
    assert ObjectKey.for_shared("app").to_prefix() == "app/shared"


def test_all_sessions_are_a_wildcard() -> None:
    everything = ObjectKey.for_all_sessions("app")
    assert everything == ObjectKey.from_path("app/*")
    assert everything.to_prefix() == f"app/{WILDCARD_SESSION}"
    assert everything.is_all_sessions()
    assert not ObjectKey("app", "session").is_all_sessions()


def test_generated_ids_are_never_the_same() -> None:
    prefix = ObjectKey("app", "session")
    keys = {prefix.with_generated_id() for _ in range(100)}
    assert len(keys) == 100
    assert {key.to_prefix() for key in keys} == {"app/session"}


@pytest.mark.parametrize(
    ("key", "matching", "other"),
    [
        ("a/s/o", ["a/s/o"], ["a/s/o2", "a/s2/o", "a2/s/o", "a/s"]),
        ("a/s", ["a/s/o", "a/s/p"], ["a/s2/o", "a/s", "a/s/o/p", "a/s/", "b/s/o"]),
        ("a/*", ["a/s/o", "a/t/o"], ["a2/s/o", "a/s", "a//o", "a/s/o/p"]),
    ],
)
def test_a_key_matches_what_it_names(key: str, matching: list[str], other: list[str]) -> None:
    named = ObjectKey.from_path(key)
    assert [each for each in matching + other if named.matches_key(each)] == matching


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "want <app>/<session>"),
        ("app", "want <app>/<session>"),
        ("app/session/object/more", "want <app>/<session>"),
        ("/session", "application of an object key"),
        ("app/", "session of an object key"),
        ("app/session/", "object of an object key"),
        ("../session", "has '..' in it"),
        ("app/a..b", "has '..' in it"),
        ("app/session/..", "has '..' in it"),
        ("app\\x/session", r"has '\\' in it"),
        ("app/ses\0sion", r"has '\x00' in it"),
        ("*/session", "'*' may stand for the session only"),
        ("app/session/*", "'*' may stand for the session only"),
        ("app/*/object", "means all sessions"),
        ("app/" + "s" * 256, "over 255 bytes"),
        ("app/" + "\N{SNOWMAN}" * 100, "over 255 bytes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        ObjectKey.from_path(path)


def test_a_slash_within_a_part_is_refused() -> None:
    for parts in (("a/b", "s"), ("a", "s/t"), ("a", "s", "o/p")):
        with pytest.raises(ValueError, match="has '/' in it"):
            ObjectKey(*parts)


def test_ten_kilobytes_of_key_make_a_short_error() -> None:
    with pytest.raises(ValueError, match="over 255 bytes") as refusal:
        ObjectKey("a" * 10_000, "s")
    assert len(str(refusal.value)) < 250


def test_a_prefix_is_no_full_key_and_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="without an object"):
        ObjectKey.from_prefix("app/session/object")
    with pytest.raises(ValueError, match="the object is missing"):
        ObjectKey.from_key("app/session")
    with pytest.raises(ValueError, match="takes no object"):
        ObjectKey.for_all_sessions("app").with_generated_id()
