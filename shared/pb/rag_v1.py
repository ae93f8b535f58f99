"""The messages, servicers and stubs of `waystation.rag.v1`."""

from shared.gen.waystation.rag.v1.rag_service_pb2 import *
from shared.gen.waystation.rag.v1.rag_service_pb2_grpc import *
