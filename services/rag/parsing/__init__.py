"""Parsers: bytes in, segments with their places out. What cannot be read raises `BadDocument`."""
