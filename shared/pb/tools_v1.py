"""The messages, servicers and stubs of `waystation.tools.v1`."""

from shared.gen.waystation.tools.v1.tools_service_pb2 import *
from shared.gen.waystation.tools.v1.tools_service_pb2_grpc import *
