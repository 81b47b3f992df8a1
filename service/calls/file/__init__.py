"""Calls that come in a file, such as Asterisk's `Master.csv`: read in little memory, charged once however often.

The tour:

`source`   where the bytes come from
`lines`    records of separated values; what can't be read is lost alone
`layout`   which column holds which part of a call
`price`    an amount that is written down, or a rate
`rows`     each record a call, or a reason why not
`legs`     which leg a line is, known again by its content
`bring`    batch by batch through `ingest`
"""
