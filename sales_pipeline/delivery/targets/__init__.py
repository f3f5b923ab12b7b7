"""Targets by name: what each CRM wants, as YAML, and the vocabulary of those files (`spec`)."""
