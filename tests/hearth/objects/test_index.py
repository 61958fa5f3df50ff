from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flamepy import FlameErrorCode
from flamepy.core import ObjectKey
from hearth.objects.index import _OBJECT_BYTES, _PATCH_BYTES, PATCHES_MAX, ObjectIndex
from tests.conftest import expect_refusal

if TYPE_CHECKING:
    from hearth.objects.index import State

KEY = ObjectKey("app", "session", "object")


@pytest.fixture
def index() -> ObjectIndex:
    return ObjectIndex(1 << 20)


def key(number: int, session: str = "session", app: str = "app") -> ObjectKey:
    return ObjectKey(app, session, str(number))


def everything(index: ObjectIndex, named: ObjectKey = KEY) -> tuple[int, bytes | None, list[bytes]]:
    state = index.get(named)
    return state.version, state.base, [data for _, data in state.patches]


def is_there(index: ObjectIndex, named: ObjectKey) -> bool:
    return str(named) in index._objects


def test_a_new_object_has_version_1(index: ObjectIndex) -> None:
    assert index.put(KEY, b"base") == 1
    assert index.get(KEY) == (1, b"base", [])


def test_patches_are_numbered_on_from_the_base(index: ObjectIndex) -> None:
    index.put(KEY, b"base")
    assert [index.patch(KEY, b"one"), index.patch(KEY, b"two")] == [2, 3]
    assert index.get(KEY) == (3, b"base", [(2, b"one"), (3, b"two")])


def test_an_update_replaces_the_base_and_clears_the_patches(index: ObjectIndex) -> None:
    index.put(KEY, b"base")
    index.patch(KEY, b"one")
    assert index.update(KEY, b"new") == 3
    assert index.get(KEY) == (3, b"new", [])


def test_who_knows_the_newest_version_is_told_that_nothing_is_new(index: ObjectIndex) -> None:
    index.put(KEY, b"base")
    index.patch(KEY, b"one")
    assert index.get(KEY, known=2) == (2, None, [])


def test_who_knows_the_base_gets_the_patches_that_are_new(index: ObjectIndex) -> None:
    index.put(KEY, b"base")
    for patch in (b"one", b"two", b"three"):
        index.patch(KEY, patch)
    assert index.get(KEY, known=1) == (4, None, [(2, b"one"), (3, b"two"), (4, b"three")])
    assert index.get(KEY, known=3) == (4, None, [(4, b"three")])


@pytest.mark.parametrize("known", [0, 1, 2, 9])
def test_who_knows_another_base_or_a_future_gets_everything(index: ObjectIndex, known: int) -> None:
    index.put(KEY, b"old")
    index.patch(KEY, b"old patch")
    index.update(KEY, b"base")
    index.patch(KEY, b"one")
    assert index.get(KEY, known) == (4, b"base", [(4, b"one")])


def test_a_version_is_never_used_again_after_a_delete(index: ObjectIndex) -> None:
    index.put(KEY, b"base")
    index.patch(KEY, b"one")
    index.delete(KEY)
    assert index.update(KEY, b"again") == 3
    assert index.get(KEY, known=2) == (3, b"again", [])


def test_a_version_is_never_used_again_after_an_eviction() -> None:
    index = ObjectIndex(2 * (_OBJECT_BYTES + 10))
    index.update(KEY, b"base")
    index.update(KEY, b"newer")
    for number in range(2):
        index.put(key(number), b"other")
    assert not is_there(index, KEY)
    assert index.update(KEY, b"again") == 3


def test_what_is_missing_is_not_found(index: ObjectIndex) -> None:
    for use in (lambda: index.get(KEY), lambda: index.patch(KEY, b"")):
        with expect_refusal(FlameErrorCode.NOT_FOUND, "'app/session/object' not found"):
            use()


def test_an_update_of_what_is_missing_makes_it(index: ObjectIndex) -> None:
    assert index.update(KEY, b"base") == 1
    assert index.get(KEY) == (1, b"base", [])


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ("app/session/1", {"app/session/2", "app/other/1", "app2/session/1"}),
        ("app/session", {"app/other/1", "app2/session/1"}),
        ("app/*", {"app2/session/1"}),
        ("nobody/*", {"app/session/1", "app/session/2", "app/other/1", "app2/session/1"}),
        ("app/session/9", {"app/session/1", "app/session/2", "app/other/1", "app2/session/1"}),
    ],
)
def test_delete_removes_exactly_what_is_named(index: ObjectIndex, named: str, left: set[str]) -> None:
    keys = [key(1), key(2), key(1, "other"), key(1, app="app2")]
    for each in keys:
        index.put(each, b"")
    assert index.delete(ObjectKey.from_path(named)) == len(keys) - len(left)
    assert {str(each) for each in keys if is_there(index, each)} == left


def test_the_object_used_least_recently_goes_first() -> None:
    index = ObjectIndex(3 * (_OBJECT_BYTES + 10))
    for number in range(3):
        index.put(key(number), b"x" * 10)
    index.get(key(0))
    index.put(key(3), b"x" * 10)
    assert [is_there(index, key(number)) for number in range(4)] == [True, False, True, True]
    assert index.evicted == 1


def test_a_patch_makes_room_for_itself_at_the_cost_of_others() -> None:
    index = ObjectIndex(2 * (_OBJECT_BYTES + 10))
    index.put(key(0), b"x" * 10)
    index.put(key(1), b"x" * 10)
    index.patch(key(0), b"x" * 10)
    assert [is_there(index, key(number)) for number in range(2)] == [True, False]


def test_an_object_that_is_too_large_for_the_store_costs_nobody_anything() -> None:
    index = ObjectIndex(10_000)
    index.put(KEY, b"old")
    for write in (index.put, index.update):
        with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "10000 bytes of data, at most 9488", "split it"):
            write(KEY, b"x" * 10_000)
    assert everything(index) == (1, b"old", [])


def test_a_patch_that_makes_an_object_too_large_is_refused() -> None:
    index = ObjectIndex(10_000)
    index.put(KEY, b"x" * 5000)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "at most 10000", "update_object"):
        index.patch(KEY, b"x" * 5000)
    assert everything(index) == (1, b"x" * 5000, [])


def test_a_thousand_patches_and_no_more() -> None:
    index = ObjectIndex(1 << 30)
    index.put(KEY, b"")
    for number in range(PATCHES_MAX):
        assert index.patch(KEY, b"") == number + 2
    with expect_refusal(FlameErrorCode.INVALID_STATE, "has 1000 patches", "update_object"):
        index.patch(KEY, b"")
    assert index.update(KEY, b"") == PATCHES_MAX + 2
    assert index.patch(KEY, b"") == PATCHES_MAX + 3


def test_empty_objects_and_patches_weigh_something() -> None:
    index = ObjectIndex(1 << 20)
    index.put(KEY, b"")
    index.patch(KEY, b"")
    assert index.held_bytes == _OBJECT_BYTES + _PATCH_BYTES


KEYS = st.sampled_from([key(number, session) for number in range(3) for session in ("s", "t")])
DATA = st.binary(max_size=600)


class IndexMachine(RuleBasedStateMachine):
    """Readers who remember what they were given see, after any writes, what a reader who asks anew sees."""

    LIMIT = 4000

    def __init__(self) -> None:
        super().__init__()
        self.index = ObjectIndex(self.LIMIT)
        self.versions: dict[str, set[int]] = {}
        self.readers: dict[str, tuple[int, list[bytes]]] = {}

    def written(self, named: ObjectKey, version: int) -> None:
        versions = self.versions.setdefault(str(named), set())
        assert version not in versions
        assert all(version > each for each in versions)
        versions.add(version)

    @rule(named=KEYS, data=DATA)
    def update(self, named: ObjectKey, data: bytes) -> None:
        self.written(named, self.index.update(named, data))

    @rule(named=KEYS, data=DATA)
    def patch(self, named: ObjectKey, data: bytes) -> None:
        if is_there(self.index, named):
            before = everything(self.index, named)
            if self.index._objects[str(named)].size_bytes + len(data) + _PATCH_BYTES <= self.LIMIT:
                self.written(named, self.index.patch(named, data))
                version, base, patches = everything(self.index, named)
                assert (version - 1, base, patches[:-1]) == before
                assert patches[-1] == data

    @rule(named=KEYS | st.just(ObjectKey("app", "s")) | st.just(ObjectKey.for_all_sessions("app")))
    def delete(self, named: ObjectKey) -> None:
        self.index.delete(named)
        assert self.index.delete(named) == 0

    @rule(named=KEYS)
    def read_on(self, named: ObjectKey) -> None:
        if not is_there(self.index, named):
            return
        known, parts = self.readers.get(str(named), (0, []))
        state: State = self.index.get(named, known)
        fresh = [data for _, data in state.patches]
        parts = parts + fresh if state.base is None else [state.base, *fresh]
        self.readers[str(named)] = (state.version, parts)
        version, base, patches = everything(self.index, named)
        assert (version, [base, *patches]) == (state.version, parts)

    @invariant()
    def the_weight_is_the_sum_and_within_the_bound(self) -> None:
        objects = self.index._objects
        weights = {
            name: _OBJECT_BYTES + len(each.base) + sum(len(patch) + _PATCH_BYTES for patch in each.patches)
            for name, each in objects.items()
        }
        assert weights == {name: each.size_bytes for name, each in objects.items()}
        assert self.index.held_bytes == sum(weights.values()) <= self.LIMIT
        assert {name for names in self.index._by_prefix.values() for name in names} == set(objects)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
