"""The data plane: workflows, router, arbitrator, checkpoints.

LangGraph reads this variable when it is first imported, which is after this line, in whatever order modules come.
"""

import os

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
