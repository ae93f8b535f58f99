"""Measures the agent's figures, each beside a peer in the same run: `python -m services.agent.bench`."""
