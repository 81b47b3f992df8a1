"""How the ledger is proved, and what follows from it put right. The way through it:

`chain`       the hashes that make a changed event show, worked out without the SQL that wrote them
`replay`      one stream played again from its first event: every rule that an event has to keep. Pure
`history`     reading events fast, part by part, each part as it was at one moment
`verify`      all of it, against everything that was ever derived from events
`checkpoint`  where every stream was, signed with a key that the database does not have
`rebuild`     the customers' rows, from the events, while they are in use
`rebase`      positions in the feed, in a cluster that a dump was restored into
"""
