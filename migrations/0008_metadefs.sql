-- Metadata definitions: namespaces that tell which properties images and other resources may have, and what they mean.
-- A namespace is one row with everything in it, so a read is one row and a write is whole or nothing. See
-- docs/decisions/0002-metadefs-in-one-row.md. Times are whole milliseconds since the Unix epoch, UTC.
CREATE TABLE metadef_namespaces (
  -- Stays when the namespace is renamed, and is never given again: a change that was decided on a namespace which is gone
  -- by now must not meet another one.
  id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  -- Goes up with each change. A write names the one it was decided on.
  revision     INTEGER NOT NULL DEFAULT 1,
  name         TEXT NOT NULL,
  display_name TEXT,
  description  TEXT,
  visibility   TEXT NOT NULL,
  owner        TEXT,
  protected    INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  -- JSON arrays of objects with a name each, oldest first. What lists leave out comes last.
  associations TEXT NOT NULL DEFAULT '[]',
  tags         TEXT NOT NULL DEFAULT '[]',
  properties   TEXT NOT NULL DEFAULT '[]',
  objects      TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE UNIQUE INDEX metadef_namespaces_by_name ON metadef_namespaces (name);

-- What an administrator lists, what everybody lists, and what a project has beside it, in the two orders that are asked for.
CREATE INDEX metadef_namespaces_by_creation ON metadef_namespaces (created_at, name);
CREATE INDEX metadef_namespaces_by_visibility ON metadef_namespaces (visibility, created_at, name);
CREATE INDEX metadef_namespaces_by_visibility_name ON metadef_namespaces (visibility, name);
CREATE INDEX metadef_namespaces_by_owner ON metadef_namespaces (owner, visibility, created_at, name);
CREATE INDEX metadef_namespaces_by_owner_name ON metadef_namespaces (owner, visibility, name);

-- Every resource type that a namespace was ever associated with. They stay when the association goes.
CREATE TABLE metadef_resource_types (
  name       TEXT PRIMARY KEY NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Leads from a resource type to namespaces. Follows the JSON of the namespace by trigger, so it cannot disagree with it.
CREATE TABLE metadef_associations (
  resource_type TEXT NOT NULL,
  namespace_id  INTEGER NOT NULL REFERENCES metadef_namespaces (id),
  PRIMARY KEY (resource_type, namespace_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX metadef_associations_by_namespace ON metadef_associations (namespace_id);

CREATE TRIGGER metadef_namespaces_inserted AFTER INSERT ON metadef_namespaces BEGIN
  INSERT INTO metadef_associations (resource_type, namespace_id)
    SELECT value ->> 'name', NEW.id FROM json_each(NEW.associations);
END;

CREATE TRIGGER metadef_namespaces_associated AFTER UPDATE OF associations ON metadef_namespaces
WHEN OLD.associations <> NEW.associations BEGIN
  DELETE FROM metadef_associations WHERE namespace_id = NEW.id;
  INSERT INTO metadef_associations (resource_type, namespace_id)
    SELECT value ->> 'name', NEW.id FROM json_each(NEW.associations);
END;

CREATE TRIGGER metadef_namespaces_deleted BEFORE DELETE ON metadef_namespaces BEGIN
  DELETE FROM metadef_associations WHERE namespace_id = OLD.id;
END;

-- A type that is new is put down as old as its first association. Nothing takes types away again, and one answer lists
-- them all, so there is a bound to them.
CREATE TRIGGER metadef_associations_inserted AFTER INSERT ON metadef_associations
WHEN NOT EXISTS (SELECT 1 FROM metadef_resource_types WHERE name = NEW.resource_type) BEGIN
  INSERT INTO metadef_resource_types (name, created_at, updated_at)
    SELECT NEW.resource_type, value ->> 'createdAtMs', value ->> 'createdAtMs'
    FROM metadef_namespaces, json_each(metadef_namespaces.associations)
    WHERE metadef_namespaces.id = NEW.namespace_id AND value ->> 'name' = NEW.resource_type;
  SELECT RAISE(ABORT, 'too many resource types')
    WHERE (SELECT count(*) FROM metadef_resource_types) > 1000;
END;
