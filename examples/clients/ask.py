"""Start a run and read its stream, with nothing but the contract: `python examples/clients/ask.py "hi there"`."""

import os
import sys

import grpc

from shared.pb import agent_v1

with grpc.insecure_channel(os.environ.get("AGENT_ADDRESS", "127.0.0.1:7410")) as channel:
    agent = agent_v1.AgentServiceStub(channel)
    run = agent.StartRun(agent_v1.StartRunRequest(query=sys.argv[1])).run
    for message in agent.WatchRun(agent_v1.WatchRunRequest(run_id=run.run_id)):
        print(message.event.sequence, message.event.WhichOneof("payload"), message.event.text_produced.text)
print(message.event.state_changed.run.answer)
