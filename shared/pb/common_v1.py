"""The messages, servicers and stubs of `waystation.common.v1`."""

from shared.gen.waystation.common.v1.artifact_pb2 import *
from shared.gen.waystation.common.v1.error_reason_pb2 import *
from shared.gen.waystation.common.v1.ids_pb2 import *
from shared.gen.waystation.common.v1.message_pb2 import *
from shared.gen.waystation.common.v1.usage_pb2 import *
