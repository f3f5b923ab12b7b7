-- Family state: where the opportunity stood and how it had moved, from the last change strictly before the as-of.
SELECT
  s.opportunity_id,
  s.as_of,
  s.stage,
  days_between(t.stage_entered_at, instant_before(s.as_of)) AS days_in_stage,
  days_between(s.created_at, instant_before(s.as_of)) AS age_days,
  days_between(instant_before(s.as_of), s.crm_close_date) AS days_to_crm_close_date,
  s.crm_close_date < day_of(instant_before(s.as_of)) AS is_past_crm_close_date,
  days_between(s.created_at, s.crm_close_date) AS planned_cycle_days,
  t.stage_move_count,
  t.stage_return_count,
  t.stage_count,
  t.reopened_count,
  t.close_date_push_count,
  t.pushed_days_total,
  s.amount,
  t.amount_change_count,
  ratio(s.amount, t.first_amount) AS amount_change_ratio,
  t.owner_change_count,
  days_between(t.changed_at, instant_before(s.as_of)) AS days_since_last_change,
  s.crm_probability
FROM spine AS s
LEFT JOIN timeline AS t
  ON t.opportunity_id = s.opportunity_id
  AND t.changed_at < s.as_of
  AND (t.next_changed_at IS NULL OR s.as_of <= t.next_changed_at)
