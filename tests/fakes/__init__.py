"""Fake peers with memory and dials."""
