from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import packet as wire
from flux.results import json_of

TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(json.dumps) | st.sampled_from(["-0", "1e400", "-1E-400", "Infinity", '"\\ud800"', '{"a":1,"a":2}', " 1\n", "1.0"])


def packet_of(payload: bytes) -> wire.Packet:
    return wire.request("s.m", payload, matchtag=1)


@given(TEXTS)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    read, wanted = json_of(packet_of(text.encode() + b"\0")), json.loads(text)
    assert repr(read) == repr(wanted)


@pytest.mark.parametrize(("payload", "value"), [(b'{"a": 1}\0 ignored\0', {"a": 1}), (b'"\xff"\0', "\udcff")])
def test_what_only_python_reads_is_read_by_it(payload: bytes, value: Any) -> None:
    assert json_of(packet_of(payload)) == value
    assert math.isnan(json_of(packet_of(b"NaN\0")))


@pytest.mark.parametrize("payload", [b"{\0", b"\0"])
def test_what_is_no_json_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        json_of(packet_of(payload))


@pytest.mark.parametrize("payload", [b"", b"1", b"1\0x"])
def test_a_raw_payload_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(OSError, match="EPROTO"):
        json_of(packet_of(payload))
