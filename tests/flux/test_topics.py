from __future__ import annotations

import pytest

from flux.core.topics import topic_matcher


@pytest.mark.parametrize(
    ("pattern", "topic", "does_match"),
    [
        ("a.b", "a.b", True),
        ("a.b", "axb", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b.c/d", True),
        ("*.b", "a.b", True),
        ("a.?", "a.b", True),
        ("a.?", "a.", False),
        ("a.?", "a.bc", False),
        ("[pq].x", "q.x", True),
        ("[!x]", "y", True),
        ("[!x]", "x", False),
        ("[a-c]", "b", True),
        ("[a-c]", "d", False),
        ("[c-a]", "b", False),
        ("[!c-a]", "b", True),
        ("[]]", "]", True),
        ("[a-]", "-", True),
        ("[ab", "[ab", True),
        ("[ab", "a", False),
        (r"\*x*", "*xy", True),
        (r"\*x*", "axy", False),
        (r"[\]]", "]", True),
        ("A*", "a", False),
        ("a*", "a\nb", True),
        (r"a\b", r"a\b", True),
    ],
)
def test_a_glob_matches_as_fnmatch_does(pattern: str, topic: str, does_match: bool) -> None:
    assert topic_matcher(pattern)(topic) is does_match


@pytest.mark.parametrize("pattern", ["", "*"])
def test_two_globs_match_even_a_message_without_topic(pattern: str) -> None:
    assert topic_matcher(pattern)(None)
    assert topic_matcher(pattern)("any.thing")


@pytest.mark.parametrize("pattern", ["?", "**", "a.b", "[a]"])
def test_no_other_glob_matches_a_message_without_topic(pattern: str) -> None:
    assert not topic_matcher(pattern)(None)
