-- Family account_record: what was closed with the account, and is open with it (this one included), strictly before the as-of; won amounts are those
-- in the currency of the opportunity.
SELECT
  s.opportunity_id,
  s.as_of,
  shrunken(r.won_count, r.closed_count, a.win_rate, $account_prior_weight) AS account_win_rate,
  r.closed_count AS account_closed_count,
  r.won_count AS account_won_count,
  ratio(r.won_cents, 100) AS account_won_amount,
  days_between(r.last_won_at, instant_before(s.as_of)) AS account_days_since_last_won,
  r.open_count AS account_open_count
FROM spine AS s
LEFT JOIN account_counts AS r
  ON r.account_id = s.account_id AND r.currency = s.currency AND r.as_of = s.as_of
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
