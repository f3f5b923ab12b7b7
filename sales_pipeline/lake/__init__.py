"""Where everything lasts: layout, durable atomic writes, lock, tables on disk, runs, CURRENT."""
