-- One row per opportunity closed in the window before the as-of (or at an instant nowhere recorded): whether it was won, and what it was, as far as
-- the seller has no say in it.
SELECT
  opportunity_id,
  COALESCE(account_id, opportunity_id) AS fold_key,
  owner_id,
  is_won,
  currency,
  CAST(first_amount AS DOUBLE) AS first_amount,
  lead_source,
  opportunity_type,
  product_id,
  industry,
  employees
FROM opportunity_states
WHERE kind = $counted_kind AND is_won IS NOT NULL AND (closed_at IS NULL OR closed_at >= $closed_from)
