import { env } from "cloudflare:workers";
import type { Task } from "../../src/domain/task.ts";

/** A task that waits for its turn, with defaults where the changes say nothing. */
export function aTask(changes: Partial<Task> = {}): Task {
  const nowMs = Date.now();
  return {
    id: crypto.randomUUID(),
    type: "api_image_import",
    status: "pending",
    owner: "owner-project",
    imageId: null,
    requestId: null,
    userId: null,
    input: null,
    result: null,
    message: "",
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    expiresAtMs: null,
    ...changes,
  };
}

/** Stores a task past the service. */
export async function plantTask(changes: Partial<Task> = {}): Promise<Task> {
  const task = aTask(changes);
  await plantTasks([task]);
  return task;
}

export async function plantTasks(tasks: readonly Task[]): Promise<void> {
  await env.DB.prepare(
    `INSERT INTO tasks (id, type, status, owner, image_id, request_id, user_id, input, result, message,
       created_at, updated_at, expires_at)
     SELECT value ->> 'id', value ->> 'type', value ->> 'status', value ->> 'owner', value ->> 'imageId',
       value ->> 'requestId', value ->> 'userId', nullif(value -> 'input', 'null'),
       nullif(value -> 'result', 'null'), value ->> 'message', value ->> 'createdAtMs',
       value ->> 'updatedAtMs', value ->> 'expiresAtMs'
     FROM json_each(?)`,
  )
    .bind(JSON.stringify(tasks))
    .run();
}

/** Leaves no task. */
export async function dropTasks(): Promise<void> {
  await env.DB.prepare("DELETE FROM tasks").run();
}
