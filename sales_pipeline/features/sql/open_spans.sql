-- One row per span during which an opportunity was open with one owner: from started_at until ended_at (NULL: still). Ends at closing,
-- change of owner or removal. Known at T when started_at < T and (ended_at IS NULL or T <= ended_at). Needs a known creation.
WITH entries AS (
  SELECT
    t.opportunity_id,
    t.state,
    CASE WHEN o.has_owner_history THEN t.owner_id ELSE o.owner_id END AS owner_id,
    t.changed_at AS started_at,
    LEAD(t.changed_at) OVER (PARTITION BY t.opportunity_id ORDER BY t.position) AS next_entry_at
  FROM timeline AS t
  JOIN current_facts AS o ON o.opportunity_id = t.opportunity_id AND o.has_timeline
  WHERE t.is_state_entry = 1 OR (o.has_owner_history AND t.owner_id IS DISTINCT FROM t.previous_owner_id)
), spans AS (
  SELECT e.opportunity_id, o.account_id, e.owner_id, e.started_at, LEAST(e.next_entry_at, o.removed_at) AS ended_at
  FROM entries AS e
  JOIN current_facts AS o ON o.opportunity_id = e.opportunity_id
  WHERE e.state = 'open'
  UNION ALL
  SELECT
    opportunity_id,
    account_id,
    owner_id,
    created_at AS started_at,
    LEAST(closed_at, removed_at) AS ended_at
  FROM current_facts
  WHERE NOT has_timeline AND created_at IS NOT NULL AND (state = 'open' OR closed_at IS NOT NULL)
)
SELECT opportunity_id, account_id, owner_id, started_at, ended_at
FROM spans
WHERE ended_at IS NULL OR ended_at > started_at
