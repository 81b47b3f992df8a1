"""HTTP, and only HTTP: parse, call the domain, dump. One file per resource.

A request passes `request_log` (its id, its line in the log), `guard` (who asks, and whether they may), `parsing` with
the resource's schemas, the view, which calls the domain, and `answer`; `errors` shapes whatever went wrong on the way.
"""
