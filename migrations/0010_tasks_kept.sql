-- An image keeps its newest 50 tasks that are over, so that lists of them stay short whatever is imported again and again.
DELETE FROM tasks WHERE id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER (PARTITION BY image_id ORDER BY created_at DESC, id DESC) AS place
      FROM tasks WHERE image_id IS NOT NULL AND status IN ('success', 'failure'))
  WHERE place > 50);

CREATE TRIGGER tasks_kept_by_insert AFTER INSERT ON tasks WHEN NEW.status IN ('success', 'failure') BEGIN
  DELETE FROM tasks WHERE id IN (
    SELECT id FROM tasks WHERE image_id = NEW.image_id AND status IN ('success', 'failure')
      ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET 50);
END;

CREATE TRIGGER tasks_kept_by_update AFTER UPDATE OF status ON tasks
WHEN NEW.status IN ('success', 'failure') AND OLD.status NOT IN ('success', 'failure') BEGIN
  DELETE FROM tasks WHERE id IN (
    SELECT id FROM tasks WHERE image_id = NEW.image_id AND status IN ('success', 'failure')
      ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET 50);
END;
