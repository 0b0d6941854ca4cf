-- Staging and import. Times are whole milliseconds since the Unix epoch, UTC.

-- Bytes that were staged and not imported yet, as JSON {store, key, hashes}. Null when there are none.
ALTER TABLE images ADD COLUMN staged TEXT;

-- Work that goes on behind an answer, as clients follow it.
CREATE TABLE tasks (
  id         TEXT PRIMARY KEY NOT NULL,
  type       TEXT NOT NULL,
  status     TEXT NOT NULL,
  -- The project of whoever asked for it, which need not be the owner of the image.
  owner      TEXT,
  image_id   TEXT,
  request_id TEXT,
  user_id    TEXT,
  -- JSON objects or null.
  input      TEXT,
  result     TEXT,
  message    TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- Set when the task ends. From then on it is as good as gone.
  expires_at INTEGER
) STRICT;

CREATE INDEX tasks_by_creation ON tasks (created_at, id);
CREATE INDEX tasks_by_image ON tasks (image_id, created_at, id);
CREATE INDEX tasks_by_expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL;
