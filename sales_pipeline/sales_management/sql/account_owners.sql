-- One row per account with anything open or won: its owner, else that of its newest open opportunity, else of its newest won one
WITH held AS (
  SELECT
    s.account_id,
    s.owner_id,
    ROW_NUMBER() OVER (
      PARTITION BY s.account_id
      ORDER BY CASE WHEN s.is_won IS NULL THEN 0 ELSE 1 END, CASE WHEN s.created_at IS NULL THEN 1 ELSE 0 END, s.created_at DESC, s.opportunity_id
    ) AS place
  FROM opportunity_states AS s
  WHERE s.account_id IS NOT NULL AND s.owner_id IS NOT NULL AND (s.is_won IS NULL OR s.is_won)
), known AS (
  SELECT account_id FROM opportunity_states WHERE account_id IS NOT NULL AND is_won
  UNION
  SELECT account_id FROM scored_opportunities WHERE account_id IS NOT NULL
)
SELECT k.account_id, COALESCE(a.owner_id, h.owner_id) AS owner_id
FROM known AS k
LEFT JOIN accounts AS a ON a.account_id = k.account_id
LEFT JOIN held AS h ON h.account_id = k.account_id AND h.place = 1
