"""Short names for generated modules: `from shared.pb import agent_v1`. The one place where `pb2` appears."""
