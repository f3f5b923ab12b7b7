-- One row per account with anything open or won: its owner, what it has bought, when it was in touch and its cases; NULL where there is nothing of a kind.
SELECT
  o.account_id,
  o.owner_id,
  p.won_count,
  p.purchase_days,
  p.first_won_at,
  p.last_won_at,
  c.last_contact_at,
  c.last_inbound_at,
  c.last_outbound_at,
  c.recent_inbound_count,
  c.earlier_inbound_count,
  k.open_case_count,
  k.oldest_open_at,
  k.survey_count,
  k.score_sum
FROM account_owners AS o
LEFT JOIN account_purchases AS p ON p.account_id = o.account_id
LEFT JOIN account_contacts AS c ON c.account_id = o.account_id
LEFT JOIN account_cases AS k ON k.account_id = o.account_id
