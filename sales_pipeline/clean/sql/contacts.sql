-- one row per key, as last seen; what was deleted in the CRM is left out
SELECT $source_system AS source_system, s.contact_id, s.account_id, s.email_allowed, s.call_allowed, s.created_at, s.source_file, s.source_record
FROM staged_contacts AS s
WHERE s.problem IS NULL AND s.version = 1 AND NOT s.is_deleted
