"""The sentences of this project: for the model that calls a tool, and for the user who runs a command.

`failures` puts together what is said of a failure; its sentences stand in `upstream` (the API and the way to it),
`local` (this machine: files, ledger, prices, requests) and `arguments` (what a tool was called with). `guidance` has
the messages of answers that are not failures, and `consent` the questions and what is told of their answers. Nothing in
here does anything but make sentences.

`tests/tools/sentences.txt` holds all of them as they come out.
"""
