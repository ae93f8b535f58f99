"""Measurements of the rag service: `python -m services.rag.bench`."""
