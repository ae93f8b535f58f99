"""The messages, servicers and stubs of `waystation.capability.v1`."""

from shared.gen.waystation.capability.v1.capability_service_pb2 import *
from shared.gen.waystation.capability.v1.capability_service_pb2_grpc import *
