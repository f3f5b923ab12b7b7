"""Every table declared once as data; schemas, checks, dictionaries and CRM field lists are derived from it."""
