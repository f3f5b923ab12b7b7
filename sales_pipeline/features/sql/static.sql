-- Family static: what is recorded when an opportunity is created, as last seen.
SELECT
  s.opportunity_id,
  s.as_of,
  s.kind,
  s.pipeline,
  s.currency,
  o.lead_source,
  o.opportunity_type,
  o.converted_from_lead_id IS NOT NULL AS is_from_lead,
  EXTRACT(MONTH FROM day_of(s.created_at)) AS created_month
FROM spine AS s
JOIN opportunities AS o ON o.opportunity_id = s.opportunity_id
