-- one row per opportunity, as last seen; a converted lead is one with its opportunity
WITH current_rows AS (
  SELECT s.* FROM staged_opportunities AS s
  JOIN opportunity_keys AS k ON k.found_id = s.opportunity_id AND k.opportunity_id = s.opportunity_id
  WHERE s.problem IS NULL AND s.version = 1
), leads AS (
  SELECT opportunity_id, MIN(found_id) AS lead_id FROM opportunity_keys WHERE found_id <> opportunity_id GROUP BY opportunity_id
), turns AS (
  SELECT opportunity_id, changed_at, state, is_creation, is_turn FROM changed_states WHERE is_turn OR is_creation
), turned AS (
  SELECT opportunity_id, state, MAX(changed_at) AS turned_at FROM turns WHERE is_turn GROUP BY opportunity_id, state
), lives AS (
  SELECT opportunity_id, MAX(CASE WHEN is_turn THEN changed_at END) AS last_turn_at, MIN(CASE WHEN is_creation THEN changed_at END) AS started_at
  FROM turns GROUP BY opportunity_id
)
SELECT $source_system AS source_system, c.opportunity_id, c.kind, c.pipeline,
  CASE WHEN a.account_id IS NOT NULL OR NOT $has_accounts THEN c.account_id END AS account_id,
  c.contact_id, c.owner_id, c.product_id, c.stage, c.state, c.currency, c.amount, c.crm_close_date, c.crm_probability, c.lead_source, c.opportunity_type,
  COALESCE(r.started_at, c.created_at) AS created_at,
  CASE WHEN c.state <> 'open' THEN COALESCE(u.turned_at, c.closed_at) END AS closed_at,
  c.modified_at, COALESCE(c.converted_from_lead_id, l.lead_id) AS converted_from_lead_id, p.removed_at, c.source_file, c.source_record
FROM current_rows AS c
LEFT JOIN accounts AS a ON a.account_id = c.account_id
LEFT JOIN leads AS l ON l.opportunity_id = c.opportunity_id
LEFT JOIN lives AS r ON r.opportunity_id = c.opportunity_id
LEFT JOIN turned AS u ON u.opportunity_id = c.opportunity_id AND u.state = c.state AND u.turned_at >= r.last_turn_at
LEFT JOIN removals AS p ON p.opportunity_id = c.opportunity_id
