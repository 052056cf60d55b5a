"""All SQL of the project, in the subset that SQLite (3.35 and later) and PostgreSQL share.

Ids are text made here, and sort by the time they were made. Times are milliseconds since 1970, UTC. Hashes are text.
A change of the schema raises `VERSION` and brings its migration.
"""

import secrets
from itertools import count
from typing import Final

VERSION = 5
"""Of the schema. Versions 1 to 3 were never released, and are refused."""

MIGRATIONS: Final = {4: ("ALTER TABLE saved_files ADD COLUMN stop_reasons text",)}
"""What leads from each earlier version to the next one."""

_HELD = "state IN ('claimed', 'sent', 'created', 'forgotten')"
_UNSETTLED = "(state IN ('claimed', 'sent', 'abandoned') OR evidence IN ('found', 'sole'))"
# In the words of the partial index, or it is not used.

SCHEMA: Final = (
    """CREATE TABLE receipts (
        id text PRIMARY KEY,
        time bigint NOT NULL,
        scope text NOT NULL,
        action text NOT NULL,
        message_batch_id text NOT NULL,
        batch_created_at bigint NOT NULL,
        request_counts text NOT NULL,
        consent text NOT NULL,
        client text,
        outcome text,
        outcome_time bigint,
        note text,
        request_id text
    )""",
    "CREATE INDEX receipts_by_time ON receipts (time, id)",
    "CREATE INDEX receipts_by_batch ON receipts (message_batch_id, time)",
    """CREATE TABLE consents (
        id text PRIMARY KEY,
        time bigint NOT NULL,
        act text NOT NULL,
        decision text NOT NULL,
        receipt_id text
    )""",
    """CREATE TABLE confirmations (
        id text PRIMARY KEY,
        time bigint NOT NULL,
        scope text NOT NULL,
        act text NOT NULL,
        facts text NOT NULL,
        client text,
        unseen text NOT NULL
    )""",
    "CREATE INDEX confirmations_by_time ON confirmations (time)",
    """CREATE TABLE saved_files (
        id text PRIMARY KEY,
        time bigint NOT NULL,
        message_batch_id text NOT NULL,
        path text NOT NULL,
        bytes bigint NOT NULL,
        sha256 text NOT NULL,
        cost_usd text,
        stop_reasons text
    )""",
    "CREATE INDEX saved_files_by_batch ON saved_files (message_batch_id, id)",
    "CREATE TABLE workspaces (credential text PRIMARY KEY, workspace text NOT NULL)",
    """CREATE TABLE submissions (
        id text PRIMARY KEY,
        version bigint NOT NULL,
        state text NOT NULL,
        evidence text,
        time bigint NOT NULL,
        scope text NOT NULL,
        plan_fingerprint text NOT NULL,
        round bigint NOT NULL,
        fingerprint text NOT NULL,
        copy bigint NOT NULL,
        part bigint NOT NULL,
        parts bigint NOT NULL,
        requests bigint NOT NULL,
        retry_of text,
        seq bigint,
        label text,
        estimate_usd text,
        consent text NOT NULL,
        consent_id text,
        client text,
        newest_before text,
        newest_created_at bigint,
        api_claimed bigint,
        api_sent bigint,
        lease_expires_at bigint NOT NULL,
        message_batch_id text,
        batch_created_at bigint,
        refuted text NOT NULL,
        outcome_time bigint,
        note text,
        request_id text,
        models text NOT NULL,
        hashes text
    )""",
    f"CREATE UNIQUE INDEX submissions_once ON submissions (scope, fingerprint, copy) WHERE {_HELD}",
    "CREATE UNIQUE INDEX submissions_retried_once ON submissions (scope, retry_of, seq)",
    "CREATE UNIQUE INDEX submissions_by_batch ON submissions (scope, message_batch_id)",
    "CREATE UNIQUE INDEX submissions_by_consent ON submissions (consent_id, part)",
    "CREATE INDEX submissions_by_content ON submissions (scope, fingerprint)",
    "CREATE INDEX submissions_by_retried ON submissions (scope, retry_of)",
    "CREATE INDEX submissions_by_label ON submissions (scope, label)",
    "CREATE INDEX submissions_by_batch_alone ON submissions (message_batch_id)",
    "CREATE INDEX submissions_by_time ON submissions (time, id)",
    f"CREATE INDEX submissions_unsettled ON submissions (scope, requests) WHERE {_UNSETTLED}",
    "CREATE INDEX submissions_by_age ON submissions (scope, batch_created_at) WHERE state = 'created'",
)

INSERT_RECEIPT = """
    INSERT INTO receipts (id, time, scope, action, message_batch_id, batch_created_at, request_counts, consent, client)
    VALUES (:id, :time, :scope, :action, :message_batch_id, :batch_created_at, :request_counts, :consent, :client)"""
COMPLETE_RECEIPT = """
    UPDATE receipts SET outcome = :outcome, outcome_time = :time, note = :note, request_id = :request_id
    WHERE id = :id AND outcome IS NULL"""
OPEN_RECEIPTS = """
    SELECT id FROM receipts
    WHERE message_batch_id = :message_batch_id AND scope = :scope AND action = :action AND outcome IS NULL
    ORDER BY time DESC, id DESC"""
DONE_RECEIPT = """
    SELECT outcome_time FROM receipts
    WHERE message_batch_id = :message_batch_id AND scope = :scope AND action = :action AND outcome = 'done'
    ORDER BY time DESC LIMIT 1"""
DELETED_SINCE = """
    SELECT message_batch_id, batch_created_at, request_counts FROM receipts
    WHERE time >= :since AND scope = :scope AND action = 'delete' AND (outcome = 'done' OR outcome IS NULL)"""

_RECEIPT_COLUMNS = """
    id, time, scope, action, message_batch_id, request_counts, consent, client, outcome, outcome_time, note,
    request_id"""
_SUBMISSION_AS_RECEIPT = """
    id, time, scope, 'create' AS action, coalesce(message_batch_id, '') AS message_batch_id,
    CAST(requests AS text) AS request_counts, consent, client,
    CASE state WHEN 'created' THEN 'done' WHEN 'forgotten' THEN 'done' WHEN 'not_created' THEN 'failed' END AS outcome,
    outcome_time, note, request_id"""


def receipts_shown(*, one_batch: bool, newest_only: bool) -> str:
    """The statement that lists receipts since `:since`, oldest first, with submissions as receipts of creates.

    `one_batch` takes only those of `:message_batch_id`; `newest_only` takes the newest `:limit`.
    """
    only = " AND message_batch_id = :message_batch_id" if one_batch else ""
    order = "ORDER BY time DESC, id DESC LIMIT :limit" if newest_only else "ORDER BY time, id"
    # The ids of both tables are unlike, so UNION ALL loses nothing, and both halves come from an index in this order.
    both = f"""SELECT {_RECEIPT_COLUMNS} FROM receipts WHERE time >= :since{only}
        UNION ALL SELECT {_SUBMISSION_AS_RECEIPT} FROM submissions WHERE time >= :since{only} {order}"""
    return f"SELECT * FROM ({both}) AS newest ORDER BY time, id" if newest_only else both


INSERT_CONSENT = """
    INSERT INTO consents (id, time, act, decision, receipt_id) VALUES (:id, :time, :act, :decision, :receipt_id)
    ON CONFLICT (id) DO NOTHING RETURNING id"""
CONSENT = """
    SELECT consents.act, consents.decision, consents.receipt_id, receipts.outcome
    FROM consents LEFT JOIN receipts ON receipts.id = consents.receipt_id WHERE consents.id = :id"""

INSERT_CONFIRMATION = """
    INSERT INTO confirmations (id, time, scope, act, facts, client, unseen)
    VALUES (:id, :time, :scope, :act, :facts, :client, :unseen)"""
CONFIRMATION = """
    SELECT id, time, facts FROM confirmations
    WHERE id = :id AND scope = :scope AND act = :act AND time >= :since
        AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.id = confirmations.id)"""
LAST_CONFIRMATION = "SELECT time, client, unseen FROM confirmations ORDER BY time DESC LIMIT 1"
FORGET_CONFIRMATIONS = "DELETE FROM confirmations WHERE time < :before"

INSERT_SAVED_FILE = """
    INSERT INTO saved_files (id, time, message_batch_id, path, bytes, sha256, cost_usd, stop_reasons)
    VALUES (:id, :time, :message_batch_id, :path, :bytes, :sha256, :cost_usd, :stop_reasons)"""
SAVED_FILES = """
    SELECT time, message_batch_id, path, bytes, sha256, cost_usd, stop_reasons FROM saved_files
    WHERE message_batch_id = :message_batch_id ORDER BY id DESC"""

WORKSPACE = "SELECT workspace FROM workspaces WHERE credential = :credential"
INSERT_WORKSPACE = """
    INSERT INTO workspaces (credential, workspace) VALUES (:credential, :workspace)
    ON CONFLICT (credential) DO UPDATE SET workspace = excluded.workspace"""
ADOPT_RECEIPTS = "UPDATE receipts SET scope = :workspace WHERE scope = :credential"
ADOPT_SUBMISSIONS = """
    UPDATE submissions SET scope = :workspace, version = version + 1 WHERE scope = :credential AND NOT EXISTS (
        SELECT 1 FROM submissions AS other WHERE other.scope = :workspace AND (
            other.fingerprint = submissions.fingerprint
            OR other.message_batch_id = submissions.message_batch_id
            OR (other.retry_of = submissions.retry_of AND other.seq = submissions.seq)))"""

_ATTEMPT = """
    id, version, state, evidence, time, scope, plan_fingerprint, round, fingerprint, copy, part, parts, requests,
    retry_of, seq, label, estimate_usd, newest_before, newest_created_at, api_claimed, api_sent, lease_expires_at,
    message_batch_id, batch_created_at, refuted, models"""
# Without a target: whichever of the unique indexes stands against it, somebody else has it.
CLAIM = """
    INSERT INTO submissions (id, version, state, time, scope, plan_fingerprint, round, fingerprint, copy, part, parts,
        requests, retry_of, seq, label, estimate_usd, consent, consent_id, client, newest_before, newest_created_at,
        api_claimed, lease_expires_at, refuted, models, hashes)
    VALUES (:id, 1, 'claimed', :time, :scope, :plan_fingerprint, :round, :fingerprint, :copy, :part, :parts,
        :requests, :retry_of, :seq, :label, :estimate_usd, :consent, :consent_id, :client, :newest_before,
        :newest_created_at, :api_claimed, :lease_expires_at, '[]', :models, :hashes)
    ON CONFLICT DO NOTHING RETURNING id"""
ATTEMPT = f"SELECT {_ATTEMPT} FROM submissions WHERE id = :id"
ATTEMPTS_OF_CONTENT = f"""
    SELECT {_ATTEMPT} FROM submissions WHERE scope = :scope AND fingerprint = :fingerprint ORDER BY id"""
ATTEMPTS_OF_RETRIES = f"""
    SELECT {_ATTEMPT} FROM submissions WHERE scope = :scope AND retry_of = :retry_of ORDER BY id"""
ATTEMPTS_OF_CONSENT = f"SELECT {_ATTEMPT} FROM submissions WHERE consent_id = :consent_id ORDER BY part"
ATTEMPT_OF_BATCH = f"""
    SELECT {_ATTEMPT} FROM submissions WHERE scope = :scope AND message_batch_id = :message_batch_id"""
ATTEMPTS_OF_LABEL = "SELECT message_batch_id FROM submissions WHERE scope = :scope AND label = :label"
LABELS = """
    SELECT label FROM submissions WHERE scope = :scope AND label IS NOT NULL
    GROUP BY label ORDER BY max(time) DESC LIMIT :most"""
OPEN_ATTEMPTS = (
    f"SELECT {_ATTEMPT} FROM submissions WHERE scope = :scope AND {_UNSETTLED} AND state <> 'abandoned' ORDER BY id"
)
RIVALS = f"""
    SELECT {_ATTEMPT} FROM submissions
    WHERE scope = :scope AND requests = :requests AND id <> :id AND {_UNSETTLED} AND coalesce(evidence, '') <> 'sole'"""
OWNED = "SELECT id FROM submissions WHERE scope = :scope AND message_batch_id = :message_batch_id AND id <> :id"
HASHES_OF_ATTEMPT = "SELECT hashes FROM submissions WHERE id = :id"
HASHES_OF_BATCH = "SELECT hashes FROM submissions WHERE scope = :scope AND message_batch_id = :message_batch_id"

RENEW_LEASE = """
    UPDATE submissions SET lease_expires_at = :lease_expires_at, version = version + 1
    WHERE id = :id AND state = 'claimed'"""
MARK_SENT = """
    UPDATE submissions
    SET state = 'sent', api_sent = :api_sent, lease_expires_at = :lease_expires_at, version = version + 1
    WHERE id = :id AND state = 'claimed'"""
SENDER_STOPPED = """
    UPDATE submissions SET lease_expires_at = :now, version = version + 1 WHERE id = :id AND state = 'sent'"""
NOT_CREATED = """
    UPDATE submissions SET state = 'not_created', outcome_time = :now, note = :note, version = version + 1
    WHERE id = :id AND state = :from_state AND version = coalesce(:version, version)"""
FOUND = """
    UPDATE submissions SET state = 'created', evidence = 'found', message_batch_id = :message_batch_id,
        batch_created_at = :batch_created_at, outcome_time = :now, version = version + 1
    WHERE id = :id AND state = 'sent' AND version = :version"""
EVIDENCE = """
    UPDATE submissions SET evidence = :evidence, version = version + 1
    WHERE id = :id AND state = 'created' AND evidence IN ('found', 'sole') AND version = :version"""
DOUBTED = """
    UPDATE submissions SET state = 'sent', evidence = NULL, message_batch_id = NULL, batch_created_at = NULL,
        outcome_time = NULL, refuted = :refuted, version = version + 1
    WHERE id = :id AND state IN ('sent', 'created') AND version = :version"""
RELEASE_BATCH = """
    UPDATE submissions SET state = 'sent', evidence = NULL, message_batch_id = NULL, batch_created_at = NULL,
        outcome_time = NULL, version = version + 1
    WHERE scope = :scope AND message_batch_id = :message_batch_id AND id <> :id AND evidence <> 'answered'"""
NEXT_COPY = f"""
    SELECT coalesce(max(copy), 0) + 1 AS copy FROM submissions
    WHERE scope = :scope AND fingerprint = :fingerprint AND id <> :id AND {_HELD}"""
COPY_TAKEN = f"""
    SELECT 1 FROM submissions
    WHERE scope = :scope AND fingerprint = :fingerprint AND copy = :copy AND id <> :id AND {_HELD}"""
ANSWERED = """
    UPDATE submissions SET state = 'created', evidence = 'answered', copy = :copy,
        message_batch_id = :message_batch_id, batch_created_at = :batch_created_at, request_id = :request_id,
        outcome_time = :now, note = NULL, version = version + 1
    WHERE id = :id"""
ABANDON = """
    UPDATE submissions SET state = 'abandoned', outcome_time = :now, version = version + 1
    WHERE id = :id AND state = 'sent' AND version = :version"""
FORGET = """
    UPDATE submissions SET state = 'forgotten', hashes = NULL, version = version + 1
    WHERE scope = :scope AND state = 'created' AND evidence <> 'found' AND batch_created_at < :before"""


_made = count()


def new_id(now: int) -> str:
    """An id that sorts by the time `now`, in milliseconds, and within this process by the order of making."""
    return f"{now:012x}{next(_made) % 2**24:06x}{secrets.token_hex(8)}"
