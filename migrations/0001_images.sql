-- The metadata of images. D1 is the truth for it. How the tables fit is in docs/architecture.md.
-- Times are whole milliseconds since the Unix epoch, UTC. Flags are 0 or 1.
-- The plain form (no quotes or semicolons in comments, no CASE) is for the program that splits this file into
-- statements when it is applied, see .ci/migrations.mjs.

CREATE TABLE images (
  id               TEXT PRIMARY KEY NOT NULL,
  -- Grows by one with each change. Every UPDATE names the revision it was decided on.
  revision         INTEGER NOT NULL DEFAULT 1,
  status           TEXT NOT NULL,
  visibility       TEXT NOT NULL,
  owner            TEXT,
  name             TEXT,
  disk_format      TEXT,
  container_format TEXT,
  min_disk         INTEGER NOT NULL DEFAULT 0,
  min_ram          INTEGER NOT NULL DEFAULT 0,
  protected        INTEGER NOT NULL DEFAULT 0,
  hidden           INTEGER NOT NULL DEFAULT 0,
  size             INTEGER,
  virtual_size     INTEGER,
  checksum         TEXT,
  os_hash_algo     TEXT,
  os_hash_value    TEXT,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  deleted_at       INTEGER,
  -- JSON, so that one row is a complete answer: {name: value}, a list of tags, a list of {store, key}.
  properties       TEXT NOT NULL DEFAULT '{}',
  tags             TEXT NOT NULL DEFAULT '[]',
  locations        TEXT NOT NULL DEFAULT '[]'
) STRICT;

-- Lists never show tombstones or killed images, so the list indexes leave them out: a query uses such an
-- index only if it repeats the condition word for word. Each ends in the default order, so that a page is
-- read by walking the index and stopping.
CREATE INDEX images_by_owner ON images (owner, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_visibility ON images (visibility, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_name ON images (name, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_status ON images (status, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
-- The list of an administrator: every image, but no community images of others.
CREATE INDEX images_but_community ON images (hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';

-- Index tables for filters. They repeat created_at of the image, which never changes, so that a filtered list
-- is read in the default order too.
CREATE TABLE image_tags (
  tag        TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  image_id   TEXT NOT NULL REFERENCES images (id),
  PRIMARY KEY (tag, created_at, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_tags_by_image ON image_tags (image_id);

CREATE TABLE image_properties (
  name       TEXT NOT NULL,
  value      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  image_id   TEXT NOT NULL REFERENCES images (id),
  PRIMARY KEY (name, value, created_at, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_properties_by_image ON image_properties (image_id);

-- A removed member stays as a row with deleted_at, because adding it again keeps its first created_at.
CREATE TABLE image_members (
  image_id         TEXT NOT NULL REFERENCES images (id),
  member_id        TEXT NOT NULL,
  status           TEXT NOT NULL,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  deleted_at       INTEGER,
  -- These two repeat the image, so that what is shared with a project is read off one index in the default
  -- order. image_hidden is the flag of the image while its members may list it, else null. Triggers keep it.
  image_created_at INTEGER NOT NULL,
  image_hidden     INTEGER,
  PRIMARY KEY (image_id, member_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_members_by_member
  ON image_members (member_id, image_hidden, status, image_created_at, image_id)
  WHERE deleted_at IS NULL;

-- The index tables follow the JSON columns of the image by trigger, so they cannot disagree with it: a change
-- is one UPDATE, and when its revision no longer holds nothing is touched.
CREATE TRIGGER images_inserted AFTER INSERT ON images BEGIN
  INSERT INTO image_tags (tag, created_at, image_id)
    SELECT value, NEW.created_at, NEW.id FROM json_each(NEW.tags);
  INSERT INTO image_properties (name, value, created_at, image_id)
    SELECT key, value, NEW.created_at, NEW.id FROM json_each(NEW.properties) WHERE value IS NOT NULL;
END;

CREATE TRIGGER images_tagged AFTER UPDATE OF tags ON images WHEN OLD.tags <> NEW.tags BEGIN
  DELETE FROM image_tags WHERE image_id = NEW.id;
  INSERT INTO image_tags (tag, created_at, image_id)
    SELECT value, NEW.created_at, NEW.id FROM json_each(NEW.tags);
END;

CREATE TRIGGER images_described AFTER UPDATE OF properties ON images
WHEN OLD.properties <> NEW.properties BEGIN
  DELETE FROM image_properties WHERE image_id = NEW.id;
  INSERT INTO image_properties (name, value, created_at, image_id)
    SELECT key, value, NEW.created_at, NEW.id FROM json_each(NEW.properties) WHERE value IS NOT NULL;
END;

CREATE TRIGGER images_deleted AFTER UPDATE OF status ON images WHEN NEW.status = 'deleted' BEGIN
  DELETE FROM image_members WHERE image_id = NEW.id;
END;

-- Members list an image only while it is shared and has an owner.
CREATE TRIGGER image_members_added AFTER INSERT ON image_members BEGIN
  UPDATE image_members
    SET image_hidden = (
      SELECT hidden FROM images
      WHERE id = NEW.image_id AND visibility = 'shared' AND owner IS NOT NULL
        AND status NOT IN ('deleted', 'killed'))
    WHERE image_id = NEW.image_id AND member_id = NEW.member_id;
END;

CREATE TRIGGER images_reshared AFTER UPDATE OF visibility, owner, hidden, status ON images
WHEN OLD.visibility <> NEW.visibility OR OLD.hidden <> NEW.hidden
  OR (OLD.owner IS NULL) <> (NEW.owner IS NULL)
  OR (OLD.status <> NEW.status AND NEW.status = 'killed')
BEGIN
  UPDATE image_members
    SET image_hidden = iif(
      NEW.visibility = 'shared' AND NEW.owner IS NOT NULL
        AND NEW.status NOT IN ('deleted', 'killed'), NEW.hidden, NULL)
    WHERE image_id = NEW.id;
END;
