from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flamepy.core.object_cache import CachedObject, ObjectCache
from flamepy.core.values import encode_value


def cached(value: Any, *patches: Any, version: int = 1, epoch: str = "now") -> CachedObject:
    return CachedObject(epoch, version, encode_value(value), [encode_value(patch) for patch in patches])


def whole(base: list[int], patches: list[int]) -> list[int]:
    base.extend(patches)
    return base


def whole_of(number: int, base: Any, patches: list[Any]) -> int:
    return number


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # the very thing it is for

    def __call__(self, base: Any, patches: list[Any]) -> Any:
        return (base, patches)


def test_without_a_deserializer_there_is_the_base_only() -> None:
    assert cached([1], 2).value(None) == [1]


def test_the_same_deserializer_gives_the_same_object_again() -> None:
    found = cached([1], 2, 3)
    assert found.value(whole) == [1, 2, 3]
    assert found.value(whole) is found.value(whole)
    assert found.value(None) is found.value(None)
    assert found.value(None) == [1]


def test_a_deserializer_that_cannot_be_hashed_is_remembered_too() -> None:
    found, first, second = cached(1, 2), Unhashable(), Unhashable()
    assert found.value(first) is found.value(first)
    assert found.value(first) is not found.value(second)


def test_a_deserializer_that_changes_what_it_is_given_does_no_harm_to_later_patches() -> None:
    found = cached([1], 2)
    assert found.value(whole) == [1, 2]
    later = found.with_patches(3, [encode_value(3)])
    assert later.value(whole) == [1, 2, 3]
    assert later.value(None) == [1]


def test_deserializers_made_for_one_call_are_forgotten() -> None:
    found = cached(1)
    for number in range(100):
        found.value(functools.partial(whole_of, number))
    assert len(found._results) < 20


def test_many_threads_get_one_object() -> None:
    found, start = cached([1], 2), threading.Barrier(8)

    def read(_: int) -> Any:
        start.wait()
        return found.value(whole)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(value) for value in pool.map(read, range(8))}) == 1


def test_the_least_recently_used_object_is_forgotten_first() -> None:
    cache = ObjectCache(objects_max=2)
    for key in ("a/s/1", "a/s/2"):
        cache.keep("here", key, cached(key))
    assert cache.find("here", "a/s/1")
    cache.keep("here", "a/s/3", cached(3))
    assert [cache.find("here", f"a/s/{number}") is not None for number in (1, 2, 3)] == [True, False, True]


def test_large_objects_do_not_pile_up() -> None:
    cache = ObjectCache(bytes_max=1000)
    for number in range(10):
        cache.keep("here", f"a/s/{number}", cached(b"x" * 300))
    assert len(cache) == 3
    cache.keep("here", "a/s/large", cached(b"x" * 2000))
    assert len(cache) == 0


def test_an_older_answer_does_not_take_the_place_of_a_newer_one() -> None:
    cache = ObjectCache()
    new = cache.keep("here", "a/s/o", cached("new", version=2))
    assert cache.keep("here", "a/s/o", cached("old", version=1)) is new
    assert cache.find("here", "a/s/o") is new


def test_an_answer_from_another_life_of_the_store_does() -> None:
    cache = ObjectCache()
    cache.keep("here", "a/s/o", cached("new", version=2))
    other = cache.keep("here", "a/s/o", cached("other", version=1, epoch="later"))
    assert cache.find("here", "a/s/o") is other


def test_the_same_key_elsewhere_is_another_object() -> None:
    cache = ObjectCache()
    cache.keep("here", "a/s/o", cached(1))
    assert cache.find("there", "a/s/o") is None


def test_what_is_deleted_is_forgotten_wherever_it_was() -> None:
    cache = ObjectCache()
    for endpoint in ("here", "there"):
        for key in ("a/s/1", "a/t/1"):
            cache.keep(endpoint, key, cached(1))
    cache.forget_all(lambda key: key.startswith("a/s/"))
    assert len(cache) == 2
    assert cache.find("here", "a/t/1")
