import { type Metrics, readMetrics } from "../db/metrics.ts";
import { VISIBILITIES } from "../domain/image.ts";
import type { OpenContext } from "./context.ts";

/**
 * GET /metrics (ours): what there is and what has happened, for Prometheus (text format 0.0.4), under the rule
 * `get_metrics`. Gauges bear the names of openstack-exporter; its series for each image are sums for each project here.
 */
export async function showMetrics({
  config,
  identity,
  db,
}: Pick<OpenContext, "config" | "identity" | "db">): Promise<Response> {
  config.policy.enforce("get_metrics", identity);
  const text = familiesOf(await readMetrics(db))
    .map(formatFamily)
    .join("");
  return new Response(text, {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}

interface Family {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

function familiesOf({ images, projects, events }: Metrics): Family[] {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const countedBy = (event: string, ways?: readonly string[]) =>
    events
      .filter((row) => row.event === event && (ways === undefined || ways.includes(row.way)))
      .map(({ way, result, total }) => [{ way, result }, total] as const);
  const imports = events.filter(({ event, way }) => event === "task" && way !== RESUMABLE);
  return [
    gauge("openstack_glance_up", "Whether the service answers.", [[{}, 1]]),
    gauge("openstack_glance_images", "Images, without deleted ones.", [
      [{}, sum(images.map((row) => row.images))],
    ]),
    gauge(
      "openstack_glance_image_bytes",
      "Bytes of a project's images, each copy counted, for the projects with the most.",
      projects.map(({ project, bytes }) => [{ tenant_id: project }, bytes]),
    ),
    gauge(
      "glimpse_project_images",
      "Images of a project, for the same projects.",
      projects.map((row) => [{ tenant_id: row.project }, row.images]),
    ),
    gauge(
      "glimpse_images",
      "Images by status and visibility.",
      images.map(({ status, visibility, images }) => [{ status, visibility }, images]),
    ),
    gauge(
      "glimpse_stored_bytes",
      "Bytes of images by visibility, each copy counted.",
      VISIBILITIES.map((visibility) => [
        { visibility },
        sum(images.filter((row) => row.visibility === visibility).map(({ bytes }) => bytes)),
      ]),
    ),
    counter(
      "glimpse_uploads_total",
      "Uploads that have ended, but for those whose image was deleted, by way and result.",
      [...countedBy("upload"), ...countedBy("task", [RESUMABLE])],
    ),
    counter(
      "glimpse_upload_leases_expired_total",
      "Uploads given up because no more bytes came; they count as failures, too.",
      countedBy("lapse").map(([{ way }, total]) => [{ way }, total]),
    ),
    counter(
      "glimpse_imports_total",
      "Imports and added locations that have ended, by method and result.",
      imports.map(({ way, result, total }) => [{ method: way, result }, total]),
    ),
    counter(
      "glimpse_damaged_copies_total",
      "Reads that found a copy of an image's data missing from its store, or of another size.",
      countedBy("damaged copy").map(([{ way, result }, total]) => [
        { store: way, found: result },
        total,
      ]),
    ),
  ];
}

/** The way of uploads by tus, which end as tasks. */
const RESUMABLE = "resumable-upload";

function gauge(name: string, help: string, samples: Family["samples"]): Family {
  return { name, type: "gauge", help, samples };
}

function counter(name: string, help: string, samples: Family["samples"]): Family {
  return { name, type: "counter", help, samples };
}

function formatFamily({ name, type, help, samples }: Family): string {
  const lines = samples.map(([labels, value]) => `${name}${formatLabels(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** A label's value: backslash, quote and line feed are escaped. */
function escaped(value: string): string {
  return value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n");
}
