-- Family season: where the as-of (the last day it sees) and the CRM's close date stand in the calendar year.
SELECT
  s.opportunity_id,
  s.as_of,
  EXTRACT(MONTH FROM day_of(instant_before(s.as_of))) AS as_of_month,
  EXTRACT(QUARTER FROM day_of(instant_before(s.as_of))) AS as_of_quarter,
  days_between(day_of(instant_before(s.as_of)), DATE_TRUNC('QUARTER', day_of(instant_before(s.as_of))) + INTERVAL '3' MONTH) - 1 AS days_to_quarter_end,
  EXTRACT(MONTH FROM s.crm_close_date) AS close_date_month,
  days_between(s.crm_close_date, DATE_TRUNC('QUARTER', s.crm_close_date) + INTERVAL '3' MONTH) - 1 AS close_date_days_to_quarter_end
FROM spine AS s
