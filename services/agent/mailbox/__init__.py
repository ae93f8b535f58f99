"""Messages between the roles of a run, and from outside: stored, ordered, delivered once, acknowledged or dead."""
