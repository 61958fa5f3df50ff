from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flux.matchtags import TagPool


def test_tags_begin_at_one() -> None:
    pool = TagPool()
    assert [pool.allocate() for _ in range(4)] == [1, 2, 3, 4]


def test_the_lowest_free_tag_is_given_out_first() -> None:
    pool = TagPool()
    for _ in range(5):
        pool.allocate()
    pool.free(4)
    pool.free(2)
    assert [pool.allocate() for _ in range(3)] == [2, 4, 6]


def test_the_pool_starts_with_1023_tags_and_doubles() -> None:
    pool = TagPool()
    assert pool.available == 1023
    for _ in range(1023):
        pool.allocate()
    assert pool.available == 0
    pool.allocate()
    assert (pool.available, pool.in_use) == (1023, 1024)


@given(st.lists(st.booleans(), max_size=300))
def test_no_tag_is_held_twice(steps: list[bool]) -> None:
    pool, held = TagPool(), set[int]()
    for allocates in steps:
        if allocates or not held:
            tag = pool.allocate()
            assert tag not in held
            assert tag > 0
            held.add(tag)
        else:
            pool.free(held.pop())
        assert pool.in_use == len(held)
