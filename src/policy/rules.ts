/**
 * The reference's policy names with the reference's defaults (contract 06 §6.4), in the reference's own
 * language, so that an operator's policy entries can be carried over through the POLICY variable.
 * `%(name)s` is an attribute of the target; see `Target` in enforce.ts.
 */
const OWNER = "role:member and project_id:%(owner)s";
const ANY_VIEWER =
  "project_id:%(owner)s or project_id:%(member_id)s or " +
  "'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s";

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
  // Ours: GET /metrics.
  get_metrics: "role:admin",
} as const;

export type RuleName = keyof typeof DEFAULT_RULES;
