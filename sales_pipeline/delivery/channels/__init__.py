"""The ways to a target, behind one Protocol (`base`)."""
