"""The messages, servicers and stubs of `waystation.coding.v1`."""

from shared.gen.waystation.coding.v1.coding_service_pb2 import *
from shared.gen.waystation.coding.v1.coding_service_pb2_grpc import *
