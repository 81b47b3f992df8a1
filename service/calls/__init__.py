"""Calls: brought by switches, stored and charged once, and found again however many there are.

The tour:

`call`        one leg of a call as somebody brings it, and what became of it
`ingest`      store and charge, in one transaction, through the ledger's door
`rematch`     calls whose customer nobody knew, looked at again
`partitions`  a month of calls is a table of its own
`period`      which stretch of time a caller means
`wanted`      which calls are wanted: one set of conditions for lists, sums and exports
`read`        pages and totals, at a cost that does not grow with the log
`summary`     what calls come to, by day, customer, source or destination
`file`        calls that come in a file, with a tour of its own
`export`      calls of any period as a file; `export_turn` writes it, `sheet` has its columns
"""
