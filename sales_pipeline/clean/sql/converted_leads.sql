-- leads that are one with the opportunity they were converted to
SELECT l.source_file, l.source_record, 'duplicate_of' AS outcome, 'converted lead' AS reason,
  CAST(NULL AS VARCHAR) AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  o.source_file || ':' || CAST(o.source_record AS VARCHAR) AS duplicate_of
FROM staged_opportunities AS l
JOIN opportunity_keys AS k ON k.found_id = l.opportunity_id AND k.opportunity_id <> k.found_id
JOIN staged_opportunities AS o ON o.opportunity_id = k.opportunity_id AND o.problem IS NULL AND o.version = 1
WHERE l.problem IS NULL AND l.version = 1
