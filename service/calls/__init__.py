"""Call records: queried by time, kept in one partition a month."""
