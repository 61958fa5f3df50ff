from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamepy import ObjectRef

# Written by hand from bsonspec.org: size, then each field as type, name, value, then NUL.
ENDPOINT = b"\x02endpoint\0" + b"\x02\0\0\0" + b"e\0"
KEY = b"\x02key\0" + b"\x06\0\0\0" + b"a/s/o\0"
VERSION = b"\x10version\0" + b"\x01\0\0\0"
VERSION_64 = b"\x12version\0" + b"\x01\0\0\0\0\0\0\0"
GOLDEN = b"\x31\0\0\0" + ENDPOINT + KEY + VERSION + b"\0"


def document(*fields: bytes) -> bytes:
    body = b"".join(fields) + b"\0"
    return (len(body) + 4).to_bytes(4, "little") + body


def test_a_reference_is_a_bson_document_of_three_fields() -> None:
    assert ObjectRef("e", "a/s/o", 1).encode() == GOLDEN
    assert ObjectRef.decode(GOLDEN) == ObjectRef("e", "a/s/o", 1)


def test_a_version_of_64_bits_is_read_as_upstream_s_server_sends_it() -> None:
    assert ObjectRef.decode(document(ENDPOINT, KEY, VERSION_64)) == ObjectRef("e", "a/s/o", 1)


def test_a_version_over_32_bits_is_written_in_64() -> None:
    encoded = ObjectRef("e", "a/s/o", 1 << 31).encode()
    assert encoded == document(ENDPOINT, KEY, b"\x12version\0" + b"\0\0\0\x80\0\0\0\0")
    assert ObjectRef.decode(encoded).version == 1 << 31


def test_the_order_of_the_fields_does_not_matter_and_the_version_may_be_missing() -> None:
    assert ObjectRef.decode(document(VERSION, KEY, ENDPOINT)) == ObjectRef("e", "a/s/o", 1)
    assert ObjectRef.decode(document(ENDPOINT, KEY)) == ObjectRef("e", "a/s/o", 0)


@given(st.text(), st.text(), st.integers(0, (1 << 63) - 1))
def test_every_reference_survives_a_round_trip(endpoint: str, key: str, version: int) -> None:
    ref = ObjectRef(endpoint, key, version)
    assert ObjectRef.decode(ref.encode()) == ref


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x80\x05K\x01.",
        b'{"endpoint": "e"}',
        document(),
        document(ENDPOINT, VERSION),
        document(ENDPOINT, KEY, VERSION, b"\x10more\0\0\0\0\0"),
        document(b"\x10endpoint\0\x01\0\0\0", KEY, VERSION),
        document(ENDPOINT, KEY, b"\x02version\0\x02\0\0\0" + b"1\0"),
        document(ENDPOINT, KEY, b"\x01version\0" + bytes(8)),
        document(ENDPOINT, b"\x02key\0\xff\xff\xff\x7fa\0"),
        document(ENDPOINT, b"\x02key\0\0\0\0\0"),
        document(ENDPOINT, b"\x02key\0\x02\0\0\0\xff\0"),
    ],
)
def test_other_bytes_are_no_reference(data: bytes) -> None:
    with pytest.raises(ValueError, match="BSON"):
        ObjectRef.decode(data)


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
def test_one_corrupt_byte_is_read_or_refused_but_never_crashes(at: int, byte: int) -> None:
    try:
        ObjectRef.decode(GOLDEN[:at] + bytes([byte]) + GOLDEN[at + 1 :])
    except ValueError:
        return


@given(st.integers(0, len(GOLDEN) - 1))
def test_a_cut_reference_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="BSON"):
        ObjectRef.decode(GOLDEN[:size])
