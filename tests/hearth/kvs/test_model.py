"""Random commits against a model that is too simple to be wrong; and what is written is what is there."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flux.constants import FLUX_KVS_APPEND, FLUX_KVS_READDIR
from hearth.broker.credentials import ServiceError
from hearth.kvs.commit import Operation
from hearth.kvs.lookup import look_up, present
from hearth.kvs.namespaces import PRIMARY, Namespaces
from hearth.kvs.objects import Directory, Value
from hearth.kvs.store import Store
from tests.hearth.kvs.trees import directory, val

Model = dict[str, Any]
"""A directory as a dict, a value as its bytes."""

names = st.sampled_from("abc")
paths = st.lists(names, min_size=1, max_size=4)
data = st.one_of(st.binary(max_size=8), st.binary(min_size=50, max_size=60))
commits = st.lists(
    st.lists(st.tuples(paths, st.sampled_from(["put", "append", "mkdir", "unlink"]), data), max_size=6), max_size=12
)
Step = tuple[list[str], str, bytes]


class Refused(Exception):
    pass


def model_apply(model: Model, steps: list[Step]) -> Model:
    model = copy.deepcopy(model)
    for path, verb, value in steps:
        here = model
        for name in path[:-1]:
            if verb == "unlink" and not isinstance(here.get(name), dict):
                break
            if not isinstance(here.get(name), dict):
                here[name] = {}
            here = here[name]
        else:
            last = path[-1]
            if verb == "unlink":
                here.pop(last, None)
            elif verb == "mkdir":
                here[last] = {}
            elif verb == "put" or last not in here:
                here[last] = value
            elif isinstance(here[last], dict):
                raise Refused
            else:
                here[last] += value
    return model


def operation(step: Step) -> Operation:
    path, verb, value = step
    dirent = {"put": val(value), "append": val(value), "mkdir": directory(), "unlink": None}[verb]
    return Operation(".".join(path), FLUX_KVS_APPEND if verb == "append" else 0, dirent)


def read(entry: object) -> Any:
    if isinstance(entry, Directory):
        return {name: read(below) for name, below in entry.entries.items()}
    assert isinstance(entry, Value)
    return entry.data()


def replay(tree: Namespaces, history: list[list[Step]]) -> Model:
    model: Model = {}
    for steps in history:
        with contextlib.suppress(ServiceError, Refused):
            expected: Model | None = None
            with contextlib.suppress(Refused):
                expected = model_apply(model, steps)
            tree.commit(PRIMARY, [operation(step) for step in steps])
            assert expected is not None, "the model refuses"
            model = expected
        assert read(tree.root_of(PRIMARY)) == model
    return model


@given(commits)
def test_a_tree_is_what_a_dict_of_dicts_would_be(history: list[list[Step]]) -> None:
    tree = Namespaces(1)
    model = replay(tree, history)
    root = tree.root_of(PRIMARY)
    listed = json.loads(present(look_up(root, tree.root_of, ".", FLUX_KVS_READDIR), FLUX_KVS_READDIR))["data"]
    assert listed.keys() == model.keys()
    assert tree.content.find_directory(root.ref) is root


@given(commits)
def test_what_is_alive_is_what_a_root_leads_to(history: list[list[Step]]) -> None:
    tree = Namespaces(1)
    replay(tree, history)
    tree.restore({name: state._replace(old=()) for name, state in tree.all().items()})
    reached: set[tuple[str, str]] = {("directory", tree.content.empty.ref)}
    todo: list[object] = [tree.root_of(PRIMARY)]
    while todo:
        entry = todo.pop()
        if isinstance(entry, Directory):
            reached.add(("directory", entry.ref))
            todo += entry.entries.values()
        reached |= {("blob", blob.ref) for blob in getattr(entry, "blobs", ())}
    assert set(tree.content) == reached
    assert set(tree.content.changes) == reached


@settings(deadline=None, max_examples=50)  # it waits for the disk
@given(commits, commits)
def test_what_was_flushed_is_read_back_and_nothing_else_is_kept(
    first: list[list[Step]], second: list[list[Step]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "content.sqlite"
        tree = Namespaces(1)
        store = Store(path, tree)
        replay(tree, first)
        store.flush()
        store.close()
        again = Namespaces(1)
        store = Store(path, again)
        assert again.get(PRIMARY).sequence == tree.get(PRIMARY).sequence
        assert again.root_of(PRIMARY).ref == tree.root_of(PRIMARY).ref
        for steps in second:
            with contextlib.suppress(ServiceError):
                again.commit(PRIMARY, [operation(step) for step in steps])
        store.flush()
        assert not again.content.changes
        assert set(store._database.execute("SELECT kind, ref FROM object")) == set(again.content)
        store.close()
