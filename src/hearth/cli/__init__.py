# SPDX-License-Identifier: Apache-2.0
"""The `hearth` command, one file a noun."""
