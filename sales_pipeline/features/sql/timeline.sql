-- One row per change of an opportunity: its state from then on (see states), when the stage it then stood in was entered, and what this change was.
-- What had happened up to it is counted where it is asked (see state): a running count of each kind would cost a pass over all columns of all changes.
WITH steps AS (
  SELECT *, position = 1 OR stage IS DISTINCT FROM previous_stage AS is_stage_entry
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
  crm_close_date,
  crm_probability,
  owner_id,
  previous_owner_id,
  first_amount,
  MAX(CASE WHEN is_stage_entry THEN changed_at END) OVER (
    PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS stage_entered_at,
  is_stage_entry,
  previous_state IN ('won', 'lost') AND state = 'open' AS is_reopening,
  amount <> previous_amount AS is_amount_change,
  owner_id <> previous_owner_id AS is_owner_change,
  CASE WHEN crm_close_date > previous_close_date THEN days_between(previous_close_date, crm_close_date) END AS pushed_days
FROM steps
