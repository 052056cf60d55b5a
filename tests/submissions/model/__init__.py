"""A model of sending once: callers interleaved at every step, on the real store, against an API that keeps the truth.

`world` is the API and the time, `ledger` the database with the table of states held against every change, `machine` the
clocks and the client of a server, `caller` a server that creates, looks and deletes in small steps, `wishes` what its
users want, `truth` what must never happen, `rules` the rules that can be taken out one at a time, and `schedule` the
dice.
"""
