"""The messages, servicers and stubs of `waystation.control.v1`."""

from shared.gen.waystation.control.v1.observability_service_pb2 import *
from shared.gen.waystation.control.v1.observability_service_pb2_grpc import *
from shared.gen.waystation.control.v1.registry_service_pb2 import *
from shared.gen.waystation.control.v1.registry_service_pb2_grpc import *
from shared.gen.waystation.control.v1.telemetry_service_pb2 import *
from shared.gen.waystation.control.v1.telemetry_service_pb2_grpc import *
