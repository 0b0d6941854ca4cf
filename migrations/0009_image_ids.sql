-- A UUID in capitals is the same UUID: image ids are written in small letters from now on, and asked for in either.
-- Of two images whose ids differ in nothing else the one in small letters keeps it, and the other stays as it is.
-- Keys of bytes keep the spelling that they have, for rows name them.
PRAGMA defer_foreign_keys = on;

UPDATE OR IGNORE images SET id = lower(id) WHERE id <> lower(id);

UPDATE image_tags SET image_id = lower(image_id)
  WHERE image_id <> lower(image_id) AND image_id NOT IN (SELECT id FROM images);
UPDATE image_properties SET image_id = lower(image_id)
  WHERE image_id <> lower(image_id) AND image_id NOT IN (SELECT id FROM images);
UPDATE image_members SET image_id = lower(image_id)
  WHERE image_id <> lower(image_id) AND image_id NOT IN (SELECT id FROM images);
UPDATE tasks SET image_id = lower(image_id)
  WHERE image_id <> lower(image_id) AND image_id NOT IN (SELECT id FROM images);
UPDATE cache_entries SET image_id = lower(image_id)
  WHERE image_id <> lower(image_id) AND image_id NOT IN (SELECT id FROM images);
