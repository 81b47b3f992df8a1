"""Webhooks: every applied event reaches every endpoint that asked for it, at least once, signed, with the same bytes.

The tour, in the order in which one event passes:

`endpoints`   who wants to hear: a URL, a secret, a filter; `urls` and `headers` say which are taken
`vault`       what must not lie in the database in clear; `reencrypt` rewrites it with another key
`payload`     an applied event as the bytes that will be signed and sent
`owe`         the deliveries that a batch of applied events entails, written in the apply's own transaction
`due`         is there anything to send? The cheap question of the clock
`dispatch`    one asyncio loop that sends hundreds of deliveries at once
`claim`       which deliveries are next, and the lease under which they are sent
`allot`       how many of them each endpoint may have: fair between endpoints, never more than the cap of one
`order`       for endpoints that want each customer's events in order: which may go
`breaker`     an endpoint that keeps failing is left alone, but for a probe now and then
`pace`        few at once to a stranger, more with every success
`sends`       the requests under way
`transport`   one POST: total timeout, no redirects, no cookies, no proxies, a bounded answer
`interim`     no more `100 Continue` than an honest server sends
`guard`       the addresses that may be dialled, checked at the moment of dialling
`signing`     the Standard Webhooks signature over the stored bytes
`verdict`     what an answer means: delivered, try again, or give up
`retry_after` when the endpoint would like it
`schedule`    when to try again
`record`      outcomes back into Postgres, a batch at a time, each only while its lease is still the sender's
`history`     what became of the deliveries, for their owner to read
`message`     messages about no event, such as a test
`again`       what has ended, made due once more
`health`      what the outcomes mean for their endpoints: breakers moved, hopeless endpoints disabled
`announce`    the message to a client's other endpoints that one was disabled
`retention`   old attempts and deliveries are forgotten

Postgres is the queue. A delivery is `pending → sending → delivered | failed | skipped`; a retry is nothing but a
`next_attempt_at`. No transaction is open while a request is under way. What a killed process was sending is claimed
again when its lease runs out, and its attempt stays on record as abandoned: hence at least once, never exactly once,
and hence the stable `webhook-id` by which a subscriber recognises a repetition.
"""
