"""Conversations: what a thread remembers of its runs, and whose turn it is."""
