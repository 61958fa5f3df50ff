# SPDX-License-Identifier: Apache-2.0
"""Modules by the names of upstream's generated ones, without protobuf.

`types_pb2` has the enums. The messages and the gRPC stubs (`frontend_pb2` and others) come with the gRPC
gateway.
"""
