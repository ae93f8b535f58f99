"""The care of agent.db: looked at before it is used, backed up while it is, put back when it must be."""
