-- ids under which an opportunity may be named, each to the opportunity it stands for: its own, and the lead it was converted from
WITH current_rows AS (
  SELECT opportunity_id, converted_to_opportunity_id, account_id FROM staged_opportunities WHERE problem IS NULL AND version = 1
)
SELECT c.opportunity_id AS found_id, COALESCE(t.opportunity_id, c.opportunity_id) AS opportunity_id, COALESCE(t.account_id, c.account_id) AS account_id
FROM current_rows AS c
LEFT JOIN current_rows AS t ON t.opportunity_id = c.converted_to_opportunity_id AND t.opportunity_id <> c.opportunity_id
