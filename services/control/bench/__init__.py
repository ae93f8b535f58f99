"""Measurements of the control plane."""
