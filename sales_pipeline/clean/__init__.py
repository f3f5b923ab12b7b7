"""Step 2, prepare: raw tables to canonical tables by named, counted rules; validation before anyone reads them."""
