"""Collect: exports kept as they came, read record by record, and handed on as raw tables with a row ledger."""
