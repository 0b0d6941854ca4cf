-- What a project uses, kept in one row by triggers, so that a quota is read and held without a sum.
-- The plain form is for the program that splits this file, see .ci/migrations.mjs.

-- Bytes that were granted to work under way, an upload or an import, and do not count as anything else yet. They
-- go when the work ends, for then the row says something else.
ALTER TABLE images ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;

-- What an image counts for, see contract 12 sections 5 and 6. Copies that are under way stand in the property.
ALTER TABLE images ADD COLUMN counted INTEGER NOT NULL
  GENERATED ALWAYS AS (status NOT IN ('deleted', 'killed', 'pending_delete')) VIRTUAL;
ALTER TABLE images ADD COLUMN counted_uploading INTEGER NOT NULL
  GENERATED ALWAYS AS (status IN ('saving', 'uploading', 'importing') OR (
    status NOT IN ('deleted', 'killed', 'pending_delete')
    AND coalesce(json_extract(properties, '$.os_glance_importing_to_stores'), '') <> '')) VIRTUAL;
ALTER TABLE images ADD COLUMN counted_size INTEGER NOT NULL
  GENERATED ALWAYS AS (iif(status NOT IN ('deleted', 'killed', 'pending_delete'),
    coalesce(size, 0) * json_array_length(locations), 0)) VIRTUAL;
ALTER TABLE images ADD COLUMN counted_stage INTEGER NOT NULL
  GENERATED ALWAYS AS (iif(status IN ('uploading', 'importing') OR (
    status NOT IN ('deleted', 'killed', 'pending_delete')
    AND coalesce(json_extract(properties, '$.os_glance_importing_to_stores'), '') <> ''),
    coalesce(size, 0), 0)) VIRTUAL;
-- While an image is being staged its reservation is one of staging space.
ALTER TABLE images ADD COLUMN reserved_size INTEGER NOT NULL
  GENERATED ALWAYS AS (iif(status IN ('deleted', 'killed', 'pending_delete', 'uploading'), 0, reserved)) VIRTUAL;
ALTER TABLE images ADD COLUMN reserved_stage INTEGER NOT NULL
  GENERATED ALWAYS AS (iif(status = 'uploading', reserved, 0)) VIRTUAL;

-- Bytes, and numbers of images.
CREATE TABLE usage (
  project        TEXT PRIMARY KEY NOT NULL,
  images         INTEGER NOT NULL,
  uploading      INTEGER NOT NULL,
  size           INTEGER NOT NULL,
  stage          INTEGER NOT NULL,
  reserved_size  INTEGER NOT NULL,
  reserved_stage INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage)
  SELECT owner, sum(counted), sum(counted_uploading), sum(counted_size), sum(counted_stage), 0, 0
    FROM images WHERE owner IS NOT NULL GROUP BY owner;

CREATE TRIGGER usage_by_insert AFTER INSERT ON images WHEN NEW.owner IS NOT NULL BEGIN
  INSERT INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage)
    VALUES (NEW.owner, NEW.counted, NEW.counted_uploading, NEW.counted_size, NEW.counted_stage,
      NEW.reserved_size, NEW.reserved_stage)
    ON CONFLICT (project) DO UPDATE SET
      images = images + excluded.images,
      uploading = uploading + excluded.uploading,
      size = size + excluded.size,
      stage = stage + excluded.stage,
      reserved_size = reserved_size + excluded.reserved_size,
      reserved_stage = reserved_stage + excluded.reserved_stage;
END;

CREATE TRIGGER usage_by_update AFTER UPDATE ON images
WHEN OLD.owner IS NOT NEW.owner OR OLD.counted <> NEW.counted
  OR OLD.counted_uploading <> NEW.counted_uploading OR OLD.counted_size <> NEW.counted_size
  OR OLD.counted_stage <> NEW.counted_stage OR OLD.reserved_size <> NEW.reserved_size
  OR OLD.reserved_stage <> NEW.reserved_stage
BEGIN
  UPDATE usage SET
    images = images - OLD.counted,
    uploading = uploading - OLD.counted_uploading,
    size = size - OLD.counted_size,
    stage = stage - OLD.counted_stage,
    reserved_size = reserved_size - OLD.reserved_size,
    reserved_stage = reserved_stage - OLD.reserved_stage
    WHERE project = OLD.owner;
  INSERT INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage)
    SELECT NEW.owner, NEW.counted, NEW.counted_uploading, NEW.counted_size, NEW.counted_stage,
      NEW.reserved_size, NEW.reserved_stage WHERE NEW.owner IS NOT NULL
    ON CONFLICT (project) DO UPDATE SET
      images = images + excluded.images,
      uploading = uploading + excluded.uploading,
      size = size + excluded.size,
      stage = stage + excluded.stage,
      reserved_size = reserved_size + excluded.reserved_size,
      reserved_stage = reserved_stage + excluded.reserved_stage;
END;

-- Takes no rows. A statement that finds a project beyond its limit tries to put one in, which fails, and with it
-- everything of the same batch.
CREATE TABLE quota_guard (
  name TEXT NOT NULL,
  CONSTRAINT within_quota CHECK (name IS NULL)
) STRICT;
