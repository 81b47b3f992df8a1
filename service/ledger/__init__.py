"""The ledger: every change of credit or status is an event, written once and never changed.

The tour, in the order in which one change passes:

`command`   what is asked, by whom, and what came of it
`idempotency`   a request with a key is carried out once, and its first answer kept
`append`    through the door: lock the stream's head, check, write the event and its outbox row, move the head
`resolve`   whom a text means
`refusals`  what the door's outcomes mean to a caller
`group_commit`, `bulk`  many commands go through the door together
`event`     what happened, and the pure fold `apply(state, event)`
`drain`     a worker brings the projection up to the events and writes the change log
`holds`     credit that is put aside, and what becomes of it when its time is over

What is read of it: `statement` (events and change log of a customer), `balance` (now, or at any moment), `feed` (all
events of a client, none ever skipped).

How it is proved, and what follows from it put right: `proof`, which has a tour of its own, and `lag` (what waits, and
who is parked).

The promises: a stream has no gaps (the seq comes from the locked head), its sum holds (a 'set' stores the delta that it
worked out under the lock), nothing in it can be changed, and each event is applied exactly once and in order.
"""
