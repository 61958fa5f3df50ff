# SPDX-License-Identifier: Apache-2.0
"""The synchronous handle and its reactor."""
