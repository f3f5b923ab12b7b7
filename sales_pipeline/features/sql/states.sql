-- One row per change of an opportunity: what stood from then on, and what had stood before. A row is the state at T when
-- changed_at < T and (next_changed_at IS NULL or T <= next_changed_at); of several changes at one instant only the last is ever a state.
WITH ordered AS (
  SELECT
    opportunity_id,
    changed_at,
    stage,
    state,
    amount,
    crm_close_date,
    crm_probability,
    owner_id,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS position,
    LEAD(changed_at) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS next_changed_at,
    LAG(stage) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS previous_stage,
    LAG(state) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS previous_state,
    LAG(amount) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS previous_amount,
    LAG(crm_close_date) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS previous_close_date,
    LAG(owner_id) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS previous_owner_id,
    FIRST_VALUE(amount IGNORE NULLS) OVER (
      PARTITION BY opportunity_id ORDER BY changed_at, sequence ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS first_amount
  FROM opportunity_changes
)
SELECT
  opportunity_id,
  changed_at,
  position,
  next_changed_at,
  stage,
  state,
  CASE WHEN position = 1 OR state IS DISTINCT FROM previous_state THEN 1 ELSE 0 END AS is_state_entry,
  amount,
  crm_close_date,
  crm_probability,
  owner_id,
  previous_stage,
  previous_state,
  previous_amount,
  previous_close_date,
  previous_owner_id,
  first_amount
FROM ordered
