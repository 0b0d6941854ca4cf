-- Where a deleted image stood in lists: a JSON object of the columns that lists are sorted by, as they were. A page may
-- still begin behind it, while everything else that was told of it is blanked. Null for an image that is there, and
-- for one that was deleted before this column.
ALTER TABLE images ADD COLUMN place TEXT;
