"""The steps of a run, one a file. They import state and ports, never the graph, never gRPC."""
