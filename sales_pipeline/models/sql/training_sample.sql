-- One row per opportunity that is drawn from a training spine: in every stratum (the month of its last landmark, whether its outcome is known) the first
-- ones in the order of a digest of $seed and its id, about $share of them. A smaller share draws a part of what a larger one draws.
WITH landmarks AS (
  SELECT opportunity_id, MAX(as_of) AS last_as_of, COUNT(*) AS landmark_count
  FROM spine
  GROUP BY opportunity_id
), strata AS (
  SELECT
    l.opportunity_id,
    l.landmark_count,
    DATE_TRUNC('MONTH', l.last_as_of) AS last_month,
    CASE WHEN o.is_won IS NULL THEN 1 ELSE 0 END AS is_open,
    MD5($seed || ' ' || l.opportunity_id) AS digest
  FROM landmarks AS l
  LEFT JOIN outcomes AS o ON o.opportunity_id = l.opportunity_id
), places AS (
  SELECT
    opportunity_id,
    landmark_count,
    ROW_NUMBER() OVER (PARTITION BY last_month, is_open ORDER BY digest, opportunity_id) AS place,
    COUNT(*) OVER (PARTITION BY last_month, is_open) AS member_count
  FROM strata
)
SELECT opportunity_id, landmark_count
FROM places
WHERE place - 1 < CAST($share AS DOUBLE) * member_count
