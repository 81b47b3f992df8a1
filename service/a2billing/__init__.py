"""A2Billing's customers and their history, brought over from its live database. The tour:

`source`    reads five tables, in short queries, over MySQL, MariaDB or PostgreSQL
`text`      what the bytes of a column were meant to say
`values`    one value at a time: dates, money, flags
`raw`, `convert`    a raw row becomes ours, or the reason why it can't
`groups`, `cards`, `caller_ids`, `calls`, `refills`    what of a page is new, known or changed; write it
`known_cards`    a card that was imported before and has changed since; `renewal` one that expired meanwhile
`report`    what became of every row
`importer`  the run: phase by phase, page by page, a transaction each

There is no high-water mark. Every run reads everything and recognises by its key what is there, so that a run can be
killed anywhere and begun again, and so that a row which becomes visible late, under a lower id, is found by the next.
"""
