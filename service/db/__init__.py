"""The way to Postgres: one engine per process, short transactions, and errors that say 'try again' as such."""
