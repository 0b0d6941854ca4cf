-- What is open on an image beside its status: resumable uploads, staged bytes, work that reads from elsewhere. All of it
-- counts in the row of its project (0003), so that a limit on it holds however much comes at once.
-- The plain form is for the program that splits this file, see .ci/migrations.mjs.

-- Resumable uploads that have not become data yet, and the bytes that are granted to them. They stay whatever becomes
-- of the status, for an upload is still there while the image takes its data by another way.
ALTER TABLE images ADD COLUMN open_uploads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN open_upload_bytes INTEGER NOT NULL DEFAULT 0;

-- Staged bytes, wherever the image is on its way to have them imported.
ALTER TABLE images ADD COLUMN counted_staged INTEGER NOT NULL
  GENERATED ALWAYS AS (iif(status NOT IN ('deleted', 'killed', 'pending_delete') AND staged IS NOT NULL,
    coalesce(size, 0), 0)) VIRTUAL;
-- Work behind an answer holds its image by this property.
ALTER TABLE images ADD COLUMN counted_jobs INTEGER NOT NULL
  GENERATED ALWAYS AS (status NOT IN ('deleted', 'killed', 'pending_delete')
    AND json_extract(properties, '$.os_glance_import_task') IS NOT NULL) VIRTUAL;

ALTER TABLE usage ADD COLUMN open_uploads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN jobs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER usage_by_insert;
DROP TRIGGER usage_by_update;

-- Until now a queued image had the bytes of its open uploads among those reserved. Their number is mended by the object
-- of the image, the next time that it looks at them. The sums stay as they are.
UPDATE images SET open_upload_bytes = reserved, reserved = 0 WHERE status = 'queued' AND reserved > 0;
UPDATE usage SET
  jobs = (SELECT coalesce(sum(counted_jobs), 0) FROM images WHERE owner = project),
  staged = (SELECT coalesce(sum(counted_staged), 0) FROM images WHERE owner = project);

CREATE TRIGGER usage_by_insert AFTER INSERT ON images WHEN NEW.owner IS NOT NULL BEGIN
  INSERT INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage, open_uploads, jobs, staged)
    VALUES (NEW.owner, NEW.counted, NEW.counted_uploading, NEW.counted_size, NEW.counted_stage,
      NEW.reserved_size + NEW.open_upload_bytes, NEW.reserved_stage, NEW.open_uploads, NEW.counted_jobs,
      NEW.counted_staged)
    ON CONFLICT (project) DO UPDATE SET
      images = images + excluded.images,
      uploading = uploading + excluded.uploading,
      size = size + excluded.size,
      stage = stage + excluded.stage,
      reserved_size = reserved_size + excluded.reserved_size,
      reserved_stage = reserved_stage + excluded.reserved_stage,
      open_uploads = open_uploads + excluded.open_uploads,
      jobs = jobs + excluded.jobs,
      staged = staged + excluded.staged;
END;

CREATE TRIGGER usage_by_update AFTER UPDATE ON images
WHEN OLD.owner IS NOT NEW.owner OR OLD.counted <> NEW.counted
  OR OLD.counted_uploading <> NEW.counted_uploading OR OLD.counted_size <> NEW.counted_size
  OR OLD.counted_stage <> NEW.counted_stage OR OLD.reserved_size <> NEW.reserved_size
  OR OLD.reserved_stage <> NEW.reserved_stage OR OLD.open_upload_bytes <> NEW.open_upload_bytes
  OR OLD.open_uploads <> NEW.open_uploads OR OLD.counted_jobs <> NEW.counted_jobs
  OR OLD.counted_staged <> NEW.counted_staged
BEGIN
  UPDATE usage SET
    images = images - OLD.counted,
    uploading = uploading - OLD.counted_uploading,
    size = size - OLD.counted_size,
    stage = stage - OLD.counted_stage,
    reserved_size = reserved_size - OLD.reserved_size - OLD.open_upload_bytes,
    reserved_stage = reserved_stage - OLD.reserved_stage,
    open_uploads = open_uploads - OLD.open_uploads,
    jobs = jobs - OLD.counted_jobs,
    staged = staged - OLD.counted_staged
    WHERE project = OLD.owner;
  INSERT INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage, open_uploads, jobs, staged)
    SELECT NEW.owner, NEW.counted, NEW.counted_uploading, NEW.counted_size, NEW.counted_stage,
      NEW.reserved_size + NEW.open_upload_bytes, NEW.reserved_stage, NEW.open_uploads, NEW.counted_jobs,
      NEW.counted_staged WHERE NEW.owner IS NOT NULL
    ON CONFLICT (project) DO UPDATE SET
      images = images + excluded.images,
      uploading = uploading + excluded.uploading,
      size = size + excluded.size,
      stage = stage + excluded.stage,
      reserved_size = reserved_size + excluded.reserved_size,
      reserved_stage = reserved_stage + excluded.reserved_stage,
      open_uploads = open_uploads + excluded.open_uploads,
      jobs = jobs + excluded.jobs,
      staged = staged + excluded.staged;
END;

-- Nothing is granted that would add to what is left of a limit.
CREATE TRIGGER grants_not_negative BEFORE UPDATE OF reserved, open_uploads, open_upload_bytes ON images
WHEN NEW.reserved < 0 OR NEW.open_uploads < 0 OR NEW.open_upload_bytes < 0 BEGIN
  SELECT RAISE(ABORT, 'a grant of less than nothing');
END;
