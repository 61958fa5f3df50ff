# SPDX-License-Identifier: Apache-2.0
"""Small helpers that programs import."""

from flamepy.core.types import short_name

__all__ = ["short_name"]
