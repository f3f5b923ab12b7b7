-- One row per change of an opportunity: its state from then on (see states), and when the stage it then stood in was entered.
WITH steps AS (
  SELECT *, CASE WHEN position = 1 OR stage IS DISTINCT FROM previous_stage THEN changed_at END AS stage_entry_at
  FROM states
)
SELECT
  opportunity_id,
  changed_at,
  position,
  next_changed_at,
  stage,
  state,
  is_state_entry,
  amount,
  owner_id,
  first_amount,
  MAX(stage_entry_at) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS stage_entered_at
FROM steps
