-- Lists by any sort key and filter without a walk over what others have. Each list is a merge of a few stretches of
-- indexes: what a project owns, what is public or community, what everybody has for administrators. So there is
-- an index for each of these three and each sort key. Each ends in the default order.
-- The plain form is for the program that splits this file, see .ci/migrations.mjs.

-- What a sort compares: nulls come before everything, and nothing compares with null. In SQLite any number is below any
-- text, so that null stays apart from an empty name.
ALTER TABLE images ADD COLUMN sort_name ANY GENERATED ALWAYS AS (coalesce(name, -1)) VIRTUAL;
ALTER TABLE images ADD COLUMN sort_disk_format ANY GENERATED ALWAYS AS (coalesce(disk_format, -1)) VIRTUAL;
ALTER TABLE images ADD COLUMN sort_container_format ANY GENERATED ALWAYS AS (coalesce(container_format, -1)) VIRTUAL;
ALTER TABLE images ADD COLUMN sort_size INTEGER GENERATED ALWAYS AS (coalesce(size, -1)) VIRTUAL;

DROP INDEX images_by_name;
DROP INDEX images_by_status;

-- What a project owns.
CREATE INDEX images_by_owner_visibility ON images (owner, visibility, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_name ON images (owner, hidden, sort_name, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_status ON images (owner, hidden, status, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_disk_format ON images (owner, hidden, sort_disk_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_container_format ON images (owner, hidden, sort_container_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_size ON images (owner, hidden, sort_size, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_updated_at ON images (owner, hidden, updated_at, created_at, id)
  WHERE status NOT IN ('deleted', 'killed');
CREATE INDEX images_by_owner_id ON images (owner, hidden, id)
  WHERE status NOT IN ('deleted', 'killed');

-- What is open to all. Other images, which are most, cost nothing here.
CREATE INDEX images_open_by_name ON images (visibility, hidden, sort_name, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_status ON images (visibility, hidden, status, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_disk_format ON images (visibility, hidden, sort_disk_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_container_format ON images (visibility, hidden, sort_container_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_size ON images (visibility, hidden, sort_size, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_updated_at ON images (visibility, hidden, updated_at, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');
CREATE INDEX images_open_by_id ON images (visibility, hidden, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility IN ('public', 'community');

-- What everybody has, but community images.
CREATE INDEX images_but_community_by_name ON images (hidden, sort_name, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_status ON images (hidden, status, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_disk_format ON images (hidden, sort_disk_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_container_format ON images (hidden, sort_container_format, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_size ON images (hidden, sort_size, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_updated_at ON images (hidden, updated_at, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';
CREATE INDEX images_but_community_by_id ON images (hidden, id)
  WHERE status NOT IN ('deleted', 'killed') AND visibility <> 'community';

-- Who has the same data: few, so that whose they are is seen to row by row.
CREATE INDEX images_by_checksum ON images (checksum, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND checksum IS NOT NULL;
CREATE INDEX images_by_os_hash_value ON images (os_hash_value, hidden, created_at, id)
  WHERE status NOT IN ('deleted', 'killed') AND os_hash_value IS NOT NULL;

-- The index tables for filters say whose an image is and who sees it, too.
DROP TRIGGER images_inserted;
DROP TRIGGER images_tagged;
DROP TRIGGER images_described;
DROP TABLE image_tags;
DROP TABLE image_properties;

CREATE TABLE image_tags (
  tag        TEXT NOT NULL,
  hidden     INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  image_id   TEXT NOT NULL REFERENCES images (id),
  owner      TEXT,
  visibility TEXT NOT NULL,
  PRIMARY KEY (tag, hidden, created_at, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_tags_by_image ON image_tags (image_id);
CREATE INDEX image_tags_by_owner ON image_tags (tag, owner, hidden, created_at, image_id);
CREATE INDEX image_tags_open ON image_tags (tag, visibility, hidden, created_at, image_id)
  WHERE visibility IN ('public', 'community');

CREATE TABLE image_properties (
  name       TEXT NOT NULL,
  value      TEXT NOT NULL,
  hidden     INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  image_id   TEXT NOT NULL REFERENCES images (id),
  owner      TEXT,
  visibility TEXT NOT NULL,
  PRIMARY KEY (name, value, hidden, created_at, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_properties_by_image ON image_properties (image_id);
CREATE INDEX image_properties_by_owner ON image_properties (name, value, owner, hidden, created_at, image_id);
CREATE INDEX image_properties_open ON image_properties (name, value, visibility, hidden, created_at, image_id)
  WHERE visibility IN ('public', 'community');

INSERT INTO image_tags (tag, hidden, created_at, image_id, owner, visibility)
  SELECT tag.value, hidden, created_at, images.id, owner, visibility
    FROM images, json_each(images.tags) AS tag;
INSERT INTO image_properties (name, value, hidden, created_at, image_id, owner, visibility)
  SELECT property.key, property.value, hidden, created_at, images.id, owner, visibility
    FROM images, json_each(images.properties) AS property WHERE property.value IS NOT NULL;

CREATE TRIGGER images_inserted AFTER INSERT ON images BEGIN
  INSERT INTO image_tags (tag, hidden, created_at, image_id, owner, visibility)
    SELECT value, NEW.hidden, NEW.created_at, NEW.id, NEW.owner, NEW.visibility FROM json_each(NEW.tags);
  INSERT INTO image_properties (name, value, hidden, created_at, image_id, owner, visibility)
    SELECT key, value, NEW.hidden, NEW.created_at, NEW.id, NEW.owner, NEW.visibility
      FROM json_each(NEW.properties) WHERE value IS NOT NULL;
END;

-- Only what is new or gone is written.
CREATE TRIGGER images_tagged AFTER UPDATE OF tags ON images WHEN OLD.tags <> NEW.tags BEGIN
  DELETE FROM image_tags WHERE image_id = NEW.id AND tag NOT IN (SELECT value FROM json_each(NEW.tags));
  INSERT INTO image_tags (tag, hidden, created_at, image_id, owner, visibility)
    SELECT value, NEW.hidden, NEW.created_at, NEW.id, NEW.owner, NEW.visibility FROM json_each(NEW.tags)
      WHERE value NOT IN (SELECT value FROM json_each(OLD.tags));
END;

CREATE TRIGGER images_described AFTER UPDATE OF properties ON images
WHEN OLD.properties <> NEW.properties BEGIN
  DELETE FROM image_properties WHERE image_id = NEW.id
    AND value IS NOT (SELECT value FROM json_each(NEW.properties) WHERE key = name);
  INSERT INTO image_properties (name, value, hidden, created_at, image_id, owner, visibility)
    SELECT changed.key, changed.value, NEW.hidden, NEW.created_at, NEW.id, NEW.owner, NEW.visibility
      FROM json_each(NEW.properties) AS changed
      WHERE changed.value IS NOT NULL
        AND changed.value IS NOT (SELECT value FROM json_each(OLD.properties) WHERE key = changed.key);
END;

CREATE TRIGGER images_shown AFTER UPDATE OF owner, visibility, hidden ON images
WHEN OLD.owner IS NOT NEW.owner OR OLD.visibility <> NEW.visibility OR OLD.hidden <> NEW.hidden BEGIN
  UPDATE image_tags SET owner = NEW.owner, visibility = NEW.visibility, hidden = NEW.hidden
    WHERE image_id = NEW.id;
  UPDATE image_properties SET owner = NEW.owner, visibility = NEW.visibility, hidden = NEW.hidden
    WHERE image_id = NEW.id;
END;

-- Images are asked for by name more than by anything else, and the glance command sorts by it, so that what is shared
-- with a project can be read by name, too.
ALTER TABLE image_members ADD COLUMN image_name ANY;
UPDATE image_members SET image_name = (SELECT sort_name FROM images WHERE id = image_id);
CREATE INDEX image_members_by_name
  ON image_members (member_id, image_hidden, image_name, image_created_at, image_id, status)
  WHERE deleted_at IS NULL;

DROP TRIGGER image_members_added;
CREATE TRIGGER image_members_added AFTER INSERT ON image_members BEGIN
  UPDATE image_members
    SET image_hidden = (
      SELECT hidden FROM images
      WHERE id = NEW.image_id AND visibility = 'shared' AND owner IS NOT NULL
        AND status NOT IN ('deleted', 'killed')),
      image_name = (SELECT sort_name FROM images WHERE id = NEW.image_id)
    WHERE image_id = NEW.image_id AND member_id = NEW.member_id;
END;

CREATE TRIGGER images_renamed AFTER UPDATE OF name ON images WHEN OLD.name IS NOT NEW.name BEGIN
  UPDATE image_members SET image_name = NEW.sort_name WHERE image_id = NEW.id;
END;
