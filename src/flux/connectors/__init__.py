# SPDX-License-Identifier: Apache-2.0
"""The transports behind `flux.connector`: one module a scheme, each with one ``open_``."""
