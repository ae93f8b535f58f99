"""The messages, servicers and stubs of `waystation.agent.v1`."""

from shared.gen.waystation.agent.v1.agent_service_pb2 import *
from shared.gen.waystation.agent.v1.agent_service_pb2_grpc import *
from shared.gen.waystation.agent.v1.guardian_service_pb2 import *
from shared.gen.waystation.agent.v1.guardian_service_pb2_grpc import *
from shared.gen.waystation.agent.v1.run_event_pb2 import *
from shared.gen.waystation.agent.v1.run_pb2 import *
from shared.gen.waystation.agent.v1.workflow_pb2 import *
