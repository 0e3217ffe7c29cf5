"""The database and Redis: clocks, SQL that two databases share, what processes share."""
