# SPDX-License-Identifier: Apache-2.0
"""Objects: values that clients and services share, by reference."""

from flamepy.core.object_ref import ObjectRef
from flamepy.core.objects import delete_objects, get_object, patch_object, put_object, update_object

__all__ = ["ObjectRef", "delete_objects", "get_object", "patch_object", "put_object", "update_object"]
