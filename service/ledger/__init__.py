"""The ledger: every change of credit or status is an event, written once and never changed.

The tour, in the order in which one change passes:

`command`   what is asked, by whom, and what came of it
`append`    through the door: lock the stream's head, check, write the event and its outbox row, move the head
`group_commit`  the threads of one process go through the door together
`event`     what happened, and the pure fold `apply(state, event)`
`drain`     a worker brings the projection up to the events and writes the change log
`chain`     the hashes that make a changed event show

The promises: a stream has no gaps (the seq comes from the locked head), its sum holds (a 'set' stores the delta that it
worked out under the lock), nothing in it can be changed, and each event is applied exactly once and in order.
"""
