-- What of images is in the edge cache. The bytes themselves lie in the caches of the platform, which drop them as they
-- like, so this is the list and not the truth: a read that finds nothing there asks the store.

CREATE TABLE cache_entries (
  image_id    TEXT PRIMARY KEY NOT NULL,
  -- A part of the keys of the bytes. With its row gone, none of them is found any more, wherever it lies.
  epoch       TEXT NOT NULL,
  -- Since when the image waits to be brought in. Null: it does not.
  queued_at   INTEGER,
  -- When bytes were put in last, and read. Null: not yet.
  modified_at INTEGER,
  accessed_at INTEGER,
  -- Reads that needed nothing of the store.
  hits        INTEGER NOT NULL DEFAULT 0,
  -- Bytes that were put in, at the most those of the image.
  size        INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TRIGGER cache_entries_deleted AFTER UPDATE OF status ON images WHEN NEW.status = 'deleted' BEGIN
  DELETE FROM cache_entries WHERE image_id = NEW.id;
END;
