-- one row per key, as last seen; what was deleted in the CRM is left out
SELECT $source_system AS source_system, s.owner_id, s.team, s.manager_id, s.is_active, s.country, s.time_zone, s.capacity_minutes,
  s.source_file, s.source_record
FROM staged_owners AS s
WHERE s.problem IS NULL AND s.version = 1 AND NOT s.is_deleted
