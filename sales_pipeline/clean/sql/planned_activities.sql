-- one row per activity that is planned and not done
SELECT $source_system AS source_system, s.activity_id, s.opportunity_id, s.account_id, s.contact_id, s.owner_id, s.kind, s.direction,
  s.due_at, s.logged_at, s.queue_id, s.source_file, s.source_record
FROM staged_activities AS s
WHERE s.problem IS NULL AND s.version = 1 AND NOT s.is_done
