"""pbx-ledger: the service that stands between a PBX billing platform and its customers' money.

Read `service.ledger` first: it is what everything else is for. `service.api` puts HTTP in front of it,
`workers` apply what it wrote, `service.webhooks` tells subscribers.
"""
