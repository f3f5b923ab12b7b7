-- Family season: where the as-of (the last day it sees) and the CRM's close date stand in the calendar year.
WITH days AS (
  SELECT opportunity_id, as_of, CAST(as_of - INTERVAL '1' MICROSECOND AS DATE) AS as_of_day, crm_close_date FROM spine
)
SELECT
  opportunity_id,
  as_of,
  EXTRACT(MONTH FROM as_of_day) AS as_of_month,
  EXTRACT(QUARTER FROM as_of_day) AS as_of_quarter,
  days_between(as_of_day, DATE_TRUNC('QUARTER', as_of_day) + INTERVAL '3' MONTH) - 1 AS days_to_quarter_end,
  EXTRACT(MONTH FROM crm_close_date) AS close_date_month,
  days_between(crm_close_date, DATE_TRUNC('QUARTER', crm_close_date) + INTERVAL '3' MONTH) - 1 AS close_date_days_to_quarter_end
FROM days
