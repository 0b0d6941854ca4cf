import { findImageWithTasks, listTasks as queryTasks } from "../db/task-query.ts";
import { findTask } from "../db/tasks.ts";
import { Fault } from "../domain/fault.ts";
import { parseImportRequest } from "../domain/import-request.ts";
import { seesTask } from "../domain/task-list.ts";
import { parseTaskRequest } from "../domain/task-request.ts";
import { readJson } from "../http/body.ts";
import { buildLinks } from "../http/link.ts";
import { json } from "../http/reply.ts";
import { parseImageTaskPage, parseTaskList } from "../http/task-list.ts";
import { unwrap } from "../image-object/rpc.ts";
import { isUuid } from "../lib/uuid.ts";
import { admitUri } from "../net/resolve.ts";
import { redactUri } from "../net/uri-filter.ts";
import { type Context, imageIdOf, param, protectionOf } from "./context.ts";
import { addImage, makeImage } from "./images.ts";
import { imageTaskView, type TaskReader, taskSummaryView, taskView } from "./task-views.ts";

/** GET /v2/tasks (contract 12 §2) */
export async function listTasks(ctx: Context): Promise<Response> {
  const { policy, limits } = ctx.config;
  policy.enforce(ctx.rule, ctx.identity);
  const query = parseTaskList(ctx.url.search, limits);
  const tasks = await queryTasks(ctx.db, query, policy.viewer(ctx.identity), ctx.nowMs);
  const lastId = tasks.length === query.limit ? tasks.at(-1)?.id : undefined;
  return json({
    tasks: tasks.map(taskSummaryView),
    ...buildLinks(ctx.url.search, lastId, "/v2/tasks"),
    schema: "/v2/schemas/tasks",
  });
}

/** GET /v2/tasks/{task_id}: one that the caller may not see is not there (contract 12 §2). */
export async function showTask(ctx: Context): Promise<Response> {
  const { policy } = ctx.config;
  policy.enforce(ctx.rule, ctx.identity);
  const taskId = param(ctx, "task_id");
  const task = isUuid(taskId) ? await findTask(ctx.db, taskId, ctx.nowMs) : undefined;
  if (task === undefined || !seesTask(policy.viewer(ctx.identity), task)) {
    throw new Fault("task_not_found", { taskId });
  }
  return json(taskView(task, readerOf(ctx)));
}

/**
 * GET /v2/images/{image_id}/tasks: for everyone who may see the image (contract TSK-1, TSK-2, POL-2). Pages are ours
 * (TSK-6).
 */
export async function listImageTasks(ctx: Context): Promise<Response> {
  const { policy, limits } = ctx.config;
  const viewer = policy.viewer(ctx.identity);
  const imageId = imageIdOf(ctx);
  const page = parseImageTaskPage(ctx.url.search, limits);
  const found = await findImageWithTasks(ctx.db, imageId, page, viewer, ctx.nowMs);
  policy.enforceOnImage(ctx.rule, ctx.identity, found);
  const reader = readerOf(ctx);
  const { tasks } = found;
  const lastId = tasks.length === page.limit ? tasks.at(-1)?.id : undefined;
  const { next } = buildLinks(ctx.url.search, lastId, `/v2/images/${imageId}/tasks`);
  return json({
    tasks: tasks.map((task) => imageTaskView(task, reader)),
    ...(next !== undefined && { next }),
  });
}

/**
 * POST /v2/tasks: the import of old, which makes an image and brings its data by web-download (contract 12 §2). What
 * can be refused is refused before there is an image.
 */
export async function createTask(ctx: Context): Promise<Response> {
  const { config } = ctx;
  config.policy.enforce(ctx.rule, ctx.identity);
  const body = await readJson(ctx.request, ctx.maxBodyBytes);
  const { uri, imageProperties, input } = parseTaskRequest(body);
  if (!config.importMethods.includes("web-download")) {
    throw new Fault("forbidden_reason", {
      reason: "The import method web-download is not enabled.",
    });
  }
  await admitUri(uri, config.door);
  const request = parseImportRequest({ method: { name: "web-download", uri } }, ["web-download"]);
  const image = makeImage({ ...ctx, rule: "add_image" }, imageProperties);
  await addImage(ctx, image);
  const object = ctx.imageObject(image.id);
  const caller = { imageId: image.id, identity: ctx.identity };
  const withdraw = () => object.delete({ ...caller, rule: "delete_image" });
  const outcome = await object
    .beginImport(
      { ...caller, rule: "modify_image" },
      {
        request,
        storeHeader: null,
        requestId: ctx.requestId,
        taskType: "import",
        taskInput: { ...input, import_from: redactUri(uri) },
        token: undefined,
      },
    )
    .catch(async (cause: unknown) => {
      await withdraw();
      throw cause;
    });
  if (!outcome.ok) await withdraw();
  const task = await findTask(ctx.db, unwrap(outcome) ?? "", ctx.nowMs);
  if (task === undefined) throw new Error("the import was accepted without a task");
  const location = `${ctx.baseUrl}/v2/tasks/${task.id}`;
  return json(taskView(task, readerOf(ctx)), 201, { location });
}

function readerOf(ctx: Context): TaskReader {
  const seesLocations = ctx.config.policy.allows("fetch_image_location", ctx.identity, {});
  return { protection: protectionOf(ctx), seesLocations };
}
