"""Measurements of the coding service's roles in a mesh."""
