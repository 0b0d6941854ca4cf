-- What GET /metrics tells, kept by triggers, so that a scrape costs the same however many images there are.
-- The plain form is for the program that splits this file, see .ci/migrations.mjs.

-- Images that are not deleted, and the bytes of their copies.
CREATE TABLE image_counts (
  status     TEXT NOT NULL,
  visibility TEXT NOT NULL,
  images     INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  PRIMARY KEY (status, visibility)
) STRICT, WITHOUT ROWID;

INSERT INTO image_counts (status, visibility, images, bytes)
  SELECT status, visibility, sum(counted), sum(counted_size)
    FROM images WHERE counted = 1 GROUP BY status, visibility;

CREATE TRIGGER image_counts_by_insert AFTER INSERT ON images WHEN NEW.counted = 1 BEGIN
  INSERT INTO image_counts (status, visibility, images, bytes)
    VALUES (NEW.status, NEW.visibility, 1, NEW.counted_size)
    ON CONFLICT (status, visibility) DO UPDATE SET
      images = images + 1,
      bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER image_counts_by_update AFTER UPDATE OF status, visibility, size, locations ON images
WHEN OLD.status <> NEW.status OR OLD.visibility <> NEW.visibility OR OLD.counted_size <> NEW.counted_size BEGIN
  UPDATE image_counts SET images = images - 1, bytes = bytes - OLD.counted_size
    WHERE status = OLD.status AND visibility = OLD.visibility AND OLD.counted = 1;
  INSERT INTO image_counts (status, visibility, images, bytes)
    SELECT NEW.status, NEW.visibility, 1, NEW.counted_size WHERE NEW.counted = 1
    ON CONFLICT (status, visibility) DO UPDATE SET
      images = images + 1,
      bytes = bytes + excluded.bytes;
END;

-- How often something has happened since this table is there: an event, how it came about, how it ended.
CREATE TABLE event_counts (
  event  TEXT NOT NULL,
  way    TEXT NOT NULL,
  result TEXT NOT NULL,
  total  INTEGER NOT NULL,
  PRIMARY KEY (event, way, result)
) STRICT, WITHOUT ROWID;

-- An upload to the staging area has succeeded when its bytes are staged, whatever becomes of them.
CREATE TRIGGER uploads_counted AFTER UPDATE OF status, staged ON images
WHEN (OLD.status = 'saving' AND NEW.status IN ('active', 'queued'))
  OR (OLD.status = 'uploading' AND NEW.status = 'queued' AND OLD.staged IS NULL)
  OR (OLD.staged IS NULL AND NEW.staged IS NOT NULL)
BEGIN
  INSERT INTO event_counts (event, way, result, total)
    VALUES ('upload', iif(OLD.status = 'saving', 'file', 'stage'),
      iif(NEW.status = 'queued', 'failure', 'success'), 1)
    ON CONFLICT (event, way, result) DO UPDATE SET total = total + 1;
END;

-- Imports, resumable uploads and locations are tasks. Some are put down when they have ended already.
CREATE TRIGGER tasks_counted_by_insert AFTER INSERT ON tasks WHEN NEW.status IN ('success', 'failure') BEGIN
  INSERT INTO event_counts (event, way, result, total)
    VALUES ('task', coalesce(json_extract(NEW.input, '$.import_req.method.name'), NEW.type), NEW.status, 1)
    ON CONFLICT (event, way, result) DO UPDATE SET total = total + 1;
END;

CREATE TRIGGER tasks_counted_by_update AFTER UPDATE OF status ON tasks
WHEN NEW.status IN ('success', 'failure') AND OLD.status NOT IN ('success', 'failure') BEGIN
  INSERT INTO event_counts (event, way, result, total)
    VALUES ('task', coalesce(json_extract(NEW.input, '$.import_req.method.name'), NEW.type), NEW.status, 1)
    ON CONFLICT (event, way, result) DO UPDATE SET total = total + 1;
END;
