-- ids under which an opportunity may be named, each to the opportunity it stands for: its own, and the lead it was converted from, as either of the two says
WITH current_rows AS (
  SELECT opportunity_id, converted_to_opportunity_id, converted_from_lead_id, account_id FROM staged_opportunities WHERE problem IS NULL AND version = 1
), sources AS (
  SELECT converted_from_lead_id AS lead_id, MIN(opportunity_id) AS opportunity_id FROM current_rows WHERE converted_from_lead_id IS NOT NULL GROUP BY converted_from_lead_id
)
SELECT c.opportunity_id AS found_id, COALESCE(t.opportunity_id, c.opportunity_id) AS opportunity_id, COALESCE(t.account_id, c.account_id) AS account_id
FROM current_rows AS c
LEFT JOIN sources AS s ON s.lead_id = c.opportunity_id
LEFT JOIN current_rows AS t ON t.opportunity_id = COALESCE(c.converted_to_opportunity_id, s.opportunity_id) AND t.opportunity_id <> c.opportunity_id
