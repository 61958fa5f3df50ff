# SPDX-License-Identifier: Apache-2.0
"""Hearth's daemon and its tools: broker, engine, providers and the command line."""

__version__ = "0.1.0"
