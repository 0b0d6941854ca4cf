import type { Context, OpenContext } from "./api/context.ts";
import { deactivateImage, reactivateImage } from "./api/image-actions.ts";
import {
  cleanCache,
  clearCache,
  deleteFromCache,
  listCache,
  listCachingNodes,
  pruneCache,
  queueForCache,
} from "./api/image-cache.ts";
import {
  downloadImageData,
  headImageData,
  stageImageData,
  uploadImageData,
} from "./api/image-data.ts";
import { importImage, showImportInfo } from "./api/image-import.ts";
import {
  createImage,
  deleteImage,
  headImage,
  listImages,
  patchImage,
  showImage,
} from "./api/images.ts";
import { addLocation, listLocations } from "./api/locations.ts";
import { addMember, listMembers, removeMember, showMember, updateMember } from "./api/members.ts";
import {
  createNamespace,
  deleteNamespace,
  listNamespaces,
  showNamespace,
  updateNamespace,
} from "./api/metadefs/namespaces.ts";
import {
  createObject,
  deleteObject,
  deleteObjects,
  listObjects,
  showObject,
  updateObject,
} from "./api/metadefs/objects.ts";
import {
  createProperty,
  deleteProperties,
  deleteProperty,
  listProperties,
  showProperty,
  updateProperty,
} from "./api/metadefs/properties.ts";
import {
  createAssociation,
  deleteAssociation,
  listAssociations,
  listResourceTypes,
} from "./api/metadefs/resource-types.ts";
import { METADEF_SCHEMAS, showMetadefSchema } from "./api/metadefs/schemas.ts";
import {
  createTag,
  createTags,
  deleteTag,
  deleteTags,
  listTags,
  showTag,
  updateTag,
} from "./api/metadefs/tags.ts";
import { showSchema } from "./api/schemas.ts";
import { deleteFromStore, listStoreDetails, listStores } from "./api/stores.ts";
import { addTag, removeTag } from "./api/tags.ts";
import { createTask, listImageTasks, listTasks, showTask } from "./api/tasks.ts";
import { createUpload, deleteUpload, patchUpload, showUpload } from "./api/uploads.ts";
import { showUsage } from "./api/usage.ts";
import type { RuleName } from "./policy/rules.ts";

type Answer = Response | Promise<Response>;
type Method = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";

/** The body a route takes: none (one is then 400), JSON up to so many bytes, a stream, or any, unread. */
type Body = "none" | "stream" | "unread" | { readonly jsonBytes: number };

/** One line of the route table. One without a rule does not compile. */
export type Route = { readonly method: Method; readonly path: string; readonly body: Body } & (
  | { readonly rule: RuleName; readonly handle: (ctx: Context) => Answer }
  /** Open to every valid token, of whatever scope and roles (contract POL-22). */
  | { readonly rule: "authenticated"; readonly handle: (ctx: OpenContext) => Answer }
);

const MiB = 1024 ** 2;
/** Far more than a record's properties and tags may come to, so that their own limit is the one a caller meets. */
const RECORD = { jsonBytes: MiB } as const;
const SMALL = { jsonBytes: MiB / 16 } as const;

const IMAGE = "/v2/images/:image_id";
const NAMESPACES = "/v2/metadefs/namespaces";
const NAMESPACE = `${NAMESPACES}/:namespace`;

/** The Image API: contract 01 §1.3 and 14 §3 for methods and bodies, 06 §6.4 and 14 §2 for rules. */
export const routes: readonly Route[] = [
  // method, path, policy rule, handler, body
  on("GET", "/v2/images", "get_images", listImages, "unread"),
  on("POST", "/v2/images", "add_image", createImage, RECORD),

  on("GET", IMAGE, "get_image", showImage, "none"),
  on("HEAD", IMAGE, "get_image", headImage, "none"),
  on("PATCH", IMAGE, "modify_image", patchImage, RECORD),
  on("DELETE", IMAGE, "delete_image", deleteImage, "none"),

  on("GET", `${IMAGE}/file`, "download_image", downloadImageData, "none"),
  on("HEAD", `${IMAGE}/file`, "download_image", headImageData, "none"),
  on("PUT", `${IMAGE}/file`, "upload_image", uploadImageData, "stream"),

  // tus (ours); app.ts answers OPTIONS.
  on("POST", `${IMAGE}/uploads`, "upload_image", createUpload, "stream"),
  on("HEAD", `${IMAGE}/uploads/:upload_id`, "upload_image", showUpload, "none"),
  on("PATCH", `${IMAGE}/uploads/:upload_id`, "upload_image", patchUpload, "stream"),
  on("DELETE", `${IMAGE}/uploads/:upload_id`, "upload_image", deleteUpload, "none"),

  on("PUT", `${IMAGE}/stage`, "modify_image", stageImageData, "stream"),
  // copy-image stands under its own rule, copy_image.
  on("POST", `${IMAGE}/import`, "modify_image", importImage, SMALL),

  on("GET", `${IMAGE}/locations`, "fetch_image_location", listLocations, "unread"),
  on("POST", `${IMAGE}/locations`, "add_image_location", addLocation, SMALL),

  on("POST", `${IMAGE}/actions/deactivate`, "deactivate", deactivateImage, "none"),
  on("POST", `${IMAGE}/actions/reactivate`, "reactivate", reactivateImage, "none"),

  on("PUT", `${IMAGE}/tags/:tag`, "modify_image", addTag, "none"),
  on("DELETE", `${IMAGE}/tags/:tag`, "modify_image", removeTag, "none"),

  on("GET", `${IMAGE}/members`, "get_members", listMembers, "none"),
  on("POST", `${IMAGE}/members`, "add_member", addMember, SMALL),
  on("GET", `${IMAGE}/members/:member_id`, "get_member", showMember, "none"),
  on("PUT", `${IMAGE}/members/:member_id`, "modify_member", updateMember, SMALL),
  on("DELETE", `${IMAGE}/members/:member_id`, "delete_member", removeMember, "none"),

  on("GET", `${IMAGE}/tasks`, "get_image", listImageTasks, "none"),
  on("GET", "/v2/tasks", "tasks_api_access", listTasks, "unread"),
  on("POST", "/v2/tasks", "tasks_api_access", createTask, RECORD),
  on("GET", "/v2/tasks/:task_id", "tasks_api_access", showTask, "unread"),

  on("DELETE", "/v2/stores/:store_id/:image_id", "delete_image_location", deleteFromStore, "none"),
  open("GET", "/v2/info/stores", listStores, "none"),
  on("GET", "/v2/info/stores/detail", "stores_info_detail", listStoreDetails, "none"),

  on("GET", "/v2/cache", "cache_list", listCache, "none"),
  on("DELETE", "/v2/cache", "cache_delete", clearCache, "unread"),
  on("POST", "/v2/cache/clean", "cache_clean", cleanCache, "unread"),
  on("POST", "/v2/cache/prune", "cache_prune", pruneCache, "unread"),
  on("GET", "/v2/cache/nodes/:image_id", "list_cached_nodes", listCachingNodes, "unread"),
  on("DELETE", "/v2/cache/:image_id", "cache_delete", deleteFromCache, "unread"),
  on("PUT", "/v2/cache/:image_id", "cache_image", queueForCache, "unread"),

  on("GET", NAMESPACES, "get_metadef_namespaces", listNamespaces, "unread"),
  on("POST", NAMESPACES, "add_metadef_namespace", createNamespace, RECORD),
  on("GET", NAMESPACE, "get_metadef_namespace", showNamespace, "none"),
  on("PUT", NAMESPACE, "modify_metadef_namespace", updateNamespace, RECORD),
  on("DELETE", NAMESPACE, "delete_metadef_namespace", deleteNamespace, "none"),

  on("GET", `${NAMESPACE}/properties`, "get_metadef_properties", listProperties, "none"),
  on("POST", `${NAMESPACE}/properties`, "add_metadef_property", createProperty, RECORD),
  on("DELETE", `${NAMESPACE}/properties`, "delete_metadef_namespace", deleteProperties, "unread"),
  on("GET", `${NAMESPACE}/properties/:property`, "get_metadef_property", showProperty, "unread"),
  on("PUT", `${NAMESPACE}/properties/:property`, "modify_metadef_property", updateProperty, RECORD),
  on(
    "DELETE",
    `${NAMESPACE}/properties/:property`,
    "remove_metadef_property",
    deleteProperty,
    "unread",
  ),

  on("GET", `${NAMESPACE}/objects`, "get_metadef_objects", listObjects, "unread"),
  on("POST", `${NAMESPACE}/objects`, "add_metadef_object", createObject, RECORD),
  on("DELETE", `${NAMESPACE}/objects`, "delete_metadef_namespace", deleteObjects, "unread"),
  on("GET", `${NAMESPACE}/objects/:object`, "get_metadef_object", showObject, "none"),
  on("PUT", `${NAMESPACE}/objects/:object`, "modify_metadef_object", updateObject, RECORD),
  on("DELETE", `${NAMESPACE}/objects/:object`, "delete_metadef_object", deleteObject, "none"),

  on("GET", `${NAMESPACE}/tags`, "get_metadef_tags", listTags, "unread"),
  on("POST", `${NAMESPACE}/tags`, "add_metadef_tags", createTags, RECORD),
  on("DELETE", `${NAMESPACE}/tags`, "delete_metadef_namespace", deleteTags, "unread"),
  on("GET", `${NAMESPACE}/tags/:tag`, "get_metadef_tag", showTag, "none"),
  on("POST", `${NAMESPACE}/tags/:tag`, "add_metadef_tag", createTag, "none"),
  on("PUT", `${NAMESPACE}/tags/:tag`, "modify_metadef_tag", updateTag, SMALL),
  on("DELETE", `${NAMESPACE}/tags/:tag`, "delete_metadef_tag", deleteTag, "none"),

  on("GET", `${NAMESPACE}/resource_types`, "list_metadef_resource_types", listAssociations, "none"),
  on(
    "POST",
    `${NAMESPACE}/resource_types`,
    "add_metadef_resource_type_association",
    createAssociation,
    SMALL,
  ),
  on(
    "DELETE",
    `${NAMESPACE}/resource_types/:resource_type`,
    "remove_metadef_resource_type_association",
    deleteAssociation,
    "none",
  ),
  on(
    "GET",
    "/v2/metadefs/resource_types",
    "list_metadef_resource_types",
    listResourceTypes,
    "none",
  ),

  open("GET", "/v2/schemas/image", showSchema("image"), "none"),
  open("GET", "/v2/schemas/images", showSchema("images"), "none"),
  open("GET", "/v2/schemas/member", showSchema("member"), "none"),
  open("GET", "/v2/schemas/members", showSchema("members"), "none"),
  open("GET", "/v2/schemas/task", showSchema("task"), "unread"),
  open("GET", "/v2/schemas/tasks", showSchema("tasks"), "unread"),
  ...METADEF_SCHEMAS.map((name) =>
    open("GET", `/v2/schemas/metadefs/${name}`, showMetadefSchema(name), "none"),
  ),

  open("GET", "/v2/info/import", showImportInfo, "none"),
  open("GET", "/v2/info/usage", showUsage, "unread"),
];

function on(
  method: Method,
  path: string,
  rule: RuleName,
  handle: (ctx: Context) => Answer,
  body: Body,
): Route {
  return { method, path, rule, handle, body };
}

function open(
  method: Method,
  path: string,
  handle: (ctx: OpenContext) => Answer,
  body: Body,
): Route {
  return { method, path, rule: "authenticated", handle, body };
}
