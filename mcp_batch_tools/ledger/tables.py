"""The tables of the ledger."""

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()
receipts = Table(
    "receipts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("action", String, nullable=False),
    Column("message_batch_id", String, nullable=False),
    Column("request_counts", JSON, nullable=False),
    Column("consent", String, nullable=False),
    Column("client", String),
    Column("outcome", String),
    Column("outcome_time", String),
    Column("note", String),
    Column("request_id", String),
)
saved_results = Table(
    "saved_results",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("message_batch_id", String, nullable=False),
    Column("path", String, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("cost_usd", String),
)
Index("saved_results_by_batch", saved_results.c.message_batch_id)
Index("receipts_by_batch", receipts.c.message_batch_id)

submissions = Table(
    "submissions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("endpoint", String),
    Column("submission", String),
    Column("duplicate", Boolean),
    Column("whole", String),
    Column("fingerprint", String, nullable=False),
    Column("part", Integer, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("label", String),
    Column("retry_of", String),
    Column("estimate_usd", Float),
    Column("consent", String, nullable=False),
    Column("client", String),
    Column("newest_before", String),
    Column("newest_at", String),
    Column("hashes", LargeBinary),
    Column("until", String),
    Column("sent_whole", Boolean),
    Column("message_batch_id", String),
    Column("outcome", String),
    Column("outcome_time", String),
    Column("note", String),
    Column("request_id", String),
)
Index("submissions_by_fingerprint", submissions.c.fingerprint)
Index("submissions_by_batch", submissions.c.message_batch_id)
