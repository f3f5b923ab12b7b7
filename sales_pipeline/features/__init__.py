"""Select: features as known strictly before an as-of, the leak ledger, and the selector used inside training folds."""
