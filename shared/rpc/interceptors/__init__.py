"""What is done around every call, one concern a module."""
