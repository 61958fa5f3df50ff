# SPDX-License-Identifier: Apache-2.0
"""The Flux message plane in plain Python: messages, handles, futures, events and the reactor."""
