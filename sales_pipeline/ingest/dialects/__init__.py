"""What the exports of each CRM look like: which object is which raw table, and how its columns come about."""
