from __future__ import annotations

import pickle
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it comes without types
import pytest

from flamepy import FlameErrorCode
from flamepy.core.values import decode_value, encode_value
from tests.conftest import expect_refusal


@pytest.mark.parametrize("value", [None, b"", "text", 7, {"a": [1, (2, 3)]}, b"\x00" * 10_000])
def test_a_value_comes_back_equal(value: Any) -> None:
    assert decode_value(encode_value(value)) == value


def test_a_value_is_a_tag_and_a_pickle() -> None:
    data = encode_value([1, 2])
    assert data[:4] == b"FLM\x00"
    assert pickle.loads(data[4:]) == [1, 2]


def test_functions_and_classes_that_no_module_has_come_back() -> None:
    class Local:
        def double(self, number: int) -> int:
            return 2 * number

    assert decode_value(encode_value(lambda number: Local().double(number)))(21) == 42


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_plain_pickles_of_old_objects_are_read(protocol: int) -> None:
    assert decode_value(cloudpickle.dumps({"old": 1.5}, protocol=protocol)) == {"old": 1.5}


def test_a_plain_pickle_of_a_float_is_not_taken_for_a_tag() -> None:
    assert decode_value(pickle.dumps(1.5, protocol=0)) == 1.5


@pytest.mark.parametrize(("tag", "text"), [(1, "a NumPy array"), (2, "an Arrow table"), (9, "of an unknown kind")])
def test_a_value_of_another_tag_is_refused_by_its_name(tag: int, text: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_STATE, text, "cannot be read here"):
        decode_value(b"FLM" + bytes([tag]) + b"body")
