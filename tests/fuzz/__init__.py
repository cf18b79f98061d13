"""Mutated files of every kind that mmret opens; each case runs where a crash or a hang ends a child process alone."""
