# SPDX-License-Identifier: Apache-2.0
"""Versioned, patchable objects. In memory only for now: they end with the instance."""
