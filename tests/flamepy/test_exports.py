"""What a program may import, and where from; after §2.1. A new public name is a visible line here."""

from __future__ import annotations

import importlib

import pytest

import flamepy

FLAMEPY = [
    "TaskID",
    "SessionID",
    "ApplicationID",
    "Message",
    "TaskInput",
    "TaskOutput",
    "CommonData",
    "DEFAULT_FLAME_CONF",
    "DEFAULT_FLAME_ENDPOINT",
    "DEFAULT_FLAME_CACHE_ENDPOINT",
    "SessionState",
    "TaskState",
    "ApplicationState",
    "FlameErrorCode",
    "Shim",
    "FlameError",
    "Event",
    "ResourceRequirement",
    "SessionAttributes",
    "ApplicationSchema",
    "ApplicationAttributes",
    "Task",
    "Application",
    "FlamePackage",
    "FlameContextRunner",
    "TaskInformer",
    "FlameContext",
    "connect",
    "create_session",
    "open_session",
    "register_application",
    "unregister_application",
    "list_applications",
    "list_executors",
    "list_nodes",
    "get_application",
    "list_sessions",
    "get_session",
    "close_session",
    "Connection",
    "Session",
    "TaskWatcher",
    "FLAME_INSTANCE_ENDPOINT",
    "ApplicationContext",
    "SessionContext",
    "TaskContext",
    "FlameService",
    "run",
    "ObjectRef",
    "get_object",
    "put_object",
    "update_object",
]
OURS = ["InstanceLog", "delete_session", "update_application", "ObjectNotFoundError", "get_node"]

MODULES = {
    "flamepy": [*FLAMEPY, *OURS, "util"],
    "flamepy.core": [
        *FLAMEPY,
        *OURS,
        "ConnectionInstance",
        "FlameClientTls",
        "ObjectKey",
        "TaskIterator",
        "WILDCARD_SESSION",
        "patch_object",
        "short_name",
    ],
    "flamepy.core.client": ["TaskIterator"],
    "flamepy.core.types": ["FlameClientTls", "FlameClientCache", "FlameClusterConfig", "short_name"],
    "flamepy.cache": ["ObjectRef", "delete_objects", "get_object", "patch_object", "put_object", "update_object"],
    "flamepy.util": ["short_name"],
    "flamepy.proto.types_pb2": ["ExecutorState", "NodeState", "SessionState", "TaskState", "Shim", "ApplicationState"],
}


@pytest.mark.parametrize("module", MODULES)
def test_every_name_can_be_imported_from_where_programs_look_for_it(module: str) -> None:
    found = importlib.import_module(module)
    missing = [name for name in MODULES[module] if not hasattr(found, name)]
    assert not missing
    assert set(MODULES[module]) <= set(found.__all__)


@pytest.mark.parametrize("module", ["flamepy", "flamepy.core", "flamepy.cache", "flamepy.util"])
def test_nothing_else_is_public(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(MODULES[module])


def test_submodules_are_there_without_being_imported() -> None:
    assert flamepy.util.short_name("app", 3).startswith("app-")
