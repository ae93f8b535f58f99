"""A hand on the brake: what people and programs do to a run from outside, and the log of it that nobody can rewrite."""
