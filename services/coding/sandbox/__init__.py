"""Runs untrusted Python programs: confined by the kernel, bounded in every resource, gone without a trace."""
