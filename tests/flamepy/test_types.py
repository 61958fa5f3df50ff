from __future__ import annotations

import copy
import pickle
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flamepy
from flamepy import FlameError, FlameErrorCode, ResourceRequirement
from flamepy.core import short_name

if TYPE_CHECKING:
    from enum import IntEnum

SUFFIXES = {"": 0} | {prefix + rest: power for power, prefix in enumerate("kmgtp", 1) for rest in ("", "b", "i", "ib")}


@st.composite
def any_case(draw: st.DrawFn, text: str) -> str:
    return "".join(letter.upper() if draw(st.booleans()) else letter for letter in text)


@given(
    cpu=st.integers(0, 10**6), number=st.integers(0, 10**6), suffix=st.sampled_from(sorted(SUFFIXES)), data=st.data()
)
def test_every_spelling_of_a_requirement_is_read(cpu: int, number: int, suffix: str, data: st.DataObject) -> None:
    blank = st.sampled_from(["", " ", "\t "])
    entries = [
        f"{data.draw(any_case('cpu'))}={data.draw(blank)}{cpu}",
        f"{data.draw(blank)}{data.draw(any_case('mem') | any_case('memory'))} ={number}{data.draw(any_case(suffix))}",
    ]
    text = ",".join(data.draw(st.permutations(entries)))
    assert ResourceRequirement.from_string(text) == ResourceRequirement(cpu, number * 1024 ** SUFFIXES[suffix], 0)


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("cpu=1,mem=1g", ResourceRequirement(1, 1 << 30, 0)),
        ("cpu=1,mem=1g,gpu=0", ResourceRequirement(1, 1 << 30, 0)),
        ("gpu=2", ResourceRequirement(0, 0, 2)),
        ("memory=512", ResourceRequirement(0, 512, 0)),
        ("mem=1g,memory=2m", ResourceRequirement(0, 2 << 20, 0)),
        ("cpu=1,cpu=4", ResourceRequirement(4, 0, 0)),
    ],
)
def test_keys_are_optional_and_the_last_one_wins(text: str, requirement: ResourceRequirement) -> None:
    assert ResourceRequirement.from_string(text) == requirement


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not key=value"),
        ("cpu=1,", "is not key=value"),
        ("cpu=1,,mem=1g", "is not key=value"),
        ("cpu", "is not key=value"),
        ("cpu=", "is not key=value"),
        ("disk=1", "unknown key 'disk'"),
        ("=1", "unknown key ''"),
        ("cpu=1=2", "not a whole number"),
        ("mem=1g=2g", "not a memory size"),
        ("cpu=one", "not a whole number"),
        ("cpu=-1", "not a whole number"),
        ("cpu=1.5", "not a whole number"),
        ("mem=1.5g", "not a memory size"),
        ("mem=-1g", "not a memory size"),
        ("mem=1x", "not a memory size"),
        ("mem=g", "not a memory size"),
        ("mem=1 g", "not a memory size"),
        ("cpu=1g", "not a whole number"),
        ("gpu=²", "not a whole number"),
        ("mem=\N{FULLWIDTH DIGIT ONE}g", "not a memory size"),
        ("mem=1\N{KELVIN SIGN}", "not a memory size"),
        ("mem=1k\N{LATIN SMALL LETTER DOTLESS I}b", "not a memory size"),
    ],
)
def test_anything_else_is_refused_with_the_text_and_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as refusal:
        ResourceRequirement.from_string(text)
    assert repr(text) in str(refusal.value)


@given(st.text(alphabet="cpumegibk=,0129 -_+.\N{KELVIN SIGN}²", max_size=20))
def test_a_requirement_is_read_or_refused_but_never_anything_else(text: str) -> None:
    try:
        requirement = ResourceRequirement.from_string(text)
    except ValueError:
        return
    assert min(requirement.cpu, requirement.memory, requirement.gpu) >= 0


@pytest.mark.parametrize(
    ("enum", "numbers"),
    [
        (flamepy.SessionState, {"OPEN": 0, "CLOSED": 1}),
        (flamepy.TaskState, {"PENDING": 0, "RUNNING": 1, "SUCCEED": 2, "FAILED": 3, "CANCELLED": 4}),
        (flamepy.ApplicationState, {"ENABLED": 0, "DISABLED": 1}),
        (flamepy.Shim, {"HOST": 0, "WASM": 1}),
        (
            FlameErrorCode,
            {
                "INVALID_CONFIG": 0,
                "INVALID_STATE": 1,
                "INVALID_ARGUMENT": 2,
                "INTERNAL": 3,
                "ALREADY_EXISTS": 4,
                "NOT_FOUND": 5,
            },
        ),
    ],
)
def test_enums_have_the_numbers_of_flame(enum: type[IntEnum], numbers: dict[str, int]) -> None:
    assert {member.name: member.value for member in enum} == numbers


def test_an_error_says_its_message_and_its_code() -> None:
    error = FlameError(FlameErrorCode.NOT_FOUND, "no such thing")
    assert str(error) == "no such thing (code: 5)"
    assert (error.code, error.message) == (FlameErrorCode.NOT_FOUND, "no such thing")


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_being_copied(copied: type[FlameError]) -> None:
    error = FlameError(FlameErrorCode.INVALID_STATE, "closed")
    again = copied(error)  # type: ignore[arg-type, call-arg]  # the three ways of copying have no common type
    assert (type(again), again.code, str(again)) == (FlameError, error.code, str(error))


@pytest.mark.parametrize(
    ("state", "is_completed", "is_failed"),
    [("PENDING", False, False), ("RUNNING", False, False), ("SUCCEED", True, False), ("FAILED", True, True)],
)
def test_a_task_is_completed_when_the_service_has_answered(state: str, is_completed: bool, is_failed: bool) -> None:
    import datetime

    task = flamepy.Task("1", "s", flamepy.TaskState[state], datetime.datetime.now(datetime.timezone.utc))
    assert (task.is_completed(), task.is_failed()) == (is_completed, is_failed)


def test_a_short_name_is_its_prefix_with_letters_and_digits_nobody_else_has() -> None:
    names = {short_name("app") for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"app-[A-Za-z0-9]{6}", name) for name in names)
    assert re.fullmatch(r"app-[A-Za-z0-9]{12}", short_name("app", 12))
