"""Watching a model at work: drift of inputs and scores, and what became of the scores that were published."""
