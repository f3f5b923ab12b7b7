-- one row per key, as last seen; what was deleted in the CRM is left out
SELECT $source_system AS source_system, s.account_id, s.industry, s.employees, s.annual_revenue, s.country, s.account_type, s.parent_account_id, s.owner_id, s.created_at, s.source_file, s.source_record
FROM staged_accounts AS s
WHERE s.problem IS NULL AND s.version = 1 AND NOT s.is_deleted
