/**
 * The reference's policy names with the reference's defaults (contract 06 §6.4), in the reference's own
 * language, so that an operator's policy entries can be carried over through the POLICY variable.
 * `%(name)s` is an attribute of the target; see `Target` in enforce.ts.
 */
const OWNER = "role:member and project_id:%(owner)s";
const ANY_VIEWER =
  "project_id:%(owner)s or project_id:%(member_id)s or " +
  "'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s";
/** A namespace that is public or the caller's own (contract 16, metadefs). */
const NAMESPACE_READER =
  "rule:context_is_admin or " +
  "(role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))";

export const DEFAULT_RULES = {
  context_is_admin: "role:admin",
  get_images: "role:admin or role:reader",
  get_image: `role:admin or (role:reader and (${ANY_VIEWER}))`,
  add_image: `role:admin or (${OWNER})`,
  modify_image: `role:admin or (${OWNER})`,
  delete_image: `role:admin or (${OWNER})`,
  publicize_image: "role:admin",
  communitize_image: `role:admin or (${OWNER})`,
  upload_image: `role:admin or (${OWNER})`,
  download_image: `role:admin or (role:member and (${ANY_VIEWER}))`,
  copy_image: "role:admin",
  deactivate: `role:admin or (${OWNER})`,
  reactivate: `role:admin or (${OWNER})`,
  add_member: `role:admin or (${OWNER})`,
  delete_member: `role:admin or (${OWNER})`,
  get_members: "role:admin or (role:reader and (project_id:%(owner)s or project_id:%(member_id)s))",
  get_member: "role:admin or (role:reader and (project_id:%(owner)s or project_id:%(member_id)s))",
  set_image_location: `role:admin or (${OWNER})`,
  add_image_location: `role:admin or role:service or (${OWNER})`,
  fetch_image_location: "role:admin or role:service",
  get_image_location: "role:admin or (role:reader and project_id:%(owner)s)",
  delete_image_location: "role:admin",
  download_from_store: `role:admin or (role:member and (${ANY_VIEWER}))`,
  stores_info_detail: "role:admin or role:service",
  modify_member: "role:admin or (role:member and project_id:%(member_id)s)",
  tasks_api_access: "role:admin",
  cache_list: "role:admin",
  cache_image: "role:admin",
  cache_delete: "role:admin",
  cache_clean: "role:admin",
  cache_prune: "role:admin",
  list_cached_nodes: "role:admin",
  metadef_default: "",
  metadef_admin: "rule:context_is_admin",
  get_metadef_namespaces: "rule:context_is_admin or (role:reader and project_id:%(project_id)s)",
  get_metadef_namespace: NAMESPACE_READER,
  add_metadef_namespace: "rule:metadef_admin",
  modify_metadef_namespace: "rule:metadef_admin",
  delete_metadef_namespace: "rule:metadef_admin",
  get_metadef_objects: NAMESPACE_READER,
  get_metadef_object: NAMESPACE_READER,
  add_metadef_object: "rule:metadef_admin",
  modify_metadef_object: "rule:metadef_admin",
  delete_metadef_object: "rule:metadef_admin",
  get_metadef_properties: NAMESPACE_READER,
  get_metadef_property: NAMESPACE_READER,
  add_metadef_property: "rule:metadef_admin",
  modify_metadef_property: "rule:metadef_admin",
  remove_metadef_property: "rule:metadef_admin",
  get_metadef_tags: NAMESPACE_READER,
  get_metadef_tag: NAMESPACE_READER,
  add_metadef_tag: "rule:metadef_admin",
  add_metadef_tags: "rule:metadef_admin",
  modify_metadef_tag: "rule:metadef_admin",
  delete_metadef_tag: "rule:metadef_admin",
  delete_metadef_tags: "rule:metadef_admin",
  list_metadef_resource_types: NAMESPACE_READER,
  get_metadef_resource_type: NAMESPACE_READER,
  add_metadef_resource_type_association: "rule:metadef_admin",
  remove_metadef_resource_type_association: "rule:metadef_admin",
  // Ours: GET /metrics.
  get_metrics: "role:admin",
} as const;

export type RuleName = keyof typeof DEFAULT_RULES;
