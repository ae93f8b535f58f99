"""The kill matrix: real processes are killed at every boundary while runs go on, and a witness counts the effects."""
