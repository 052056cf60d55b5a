"""What this installation remembers: receipts, saved files and submissions, in one database."""
