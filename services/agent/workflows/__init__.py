"""Workflows as data: documents, their check, and the graphs they compile to."""
