-- One row per contact that could be addressed: contacts of the accounts of open opportunities, and contacts they name.
SELECT c.contact_id, c.account_id, c.email_allowed, c.call_allowed
FROM contacts AS c
INNER JOIN (SELECT DISTINCT account_id FROM open_opportunities WHERE account_id IS NOT NULL) AS a
  ON c.account_id = a.account_id
UNION
SELECT c.contact_id, c.account_id, c.email_allowed, c.call_allowed
FROM contacts AS c
INNER JOIN (SELECT DISTINCT contact_id FROM open_opportunities WHERE contact_id IS NOT NULL) AS p
  ON c.contact_id = p.contact_id
