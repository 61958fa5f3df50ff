# SPDX-License-Identifier: Apache-2.0
"""The message broker of one instance: rank 0 of size 1."""
