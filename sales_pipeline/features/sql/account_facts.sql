-- Family account_facts: facts of the account as last seen; its age only where it was created before the as-of.
SELECT
  s.opportunity_id,
  s.as_of,
  a.industry AS account_industry,
  LN(1 + CAST(a.employees AS DOUBLE)) AS account_employees_log,
  CASE WHEN a.annual_revenue >= 0 THEN LN(1 + a.annual_revenue) END AS account_revenue_log,
  a.country AS account_country,
  a.account_type,
  CASE WHEN a.account_id IS NOT NULL THEN a.parent_account_id IS NOT NULL END AS account_has_parent,
  CASE WHEN a.created_at < s.as_of THEN days_between(a.created_at, instant_before(s.as_of)) END AS account_age_days
FROM spine AS s
LEFT JOIN accounts AS a ON a.account_id = s.account_id
