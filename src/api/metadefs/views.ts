import type { ListedNamespace } from "../../db/metadef-query.ts";
import type {
  Association,
  MetadefObject,
  Namespace,
  Property,
  ResourceType,
  Tag,
} from "../../domain/metadefs/namespace.ts";
import type { JsonObject } from "../../lib/json.ts";
import { formatTime } from "../../lib/time.ts";

/*
 * Metadata definitions as the wire has them (contract 14 §§4 to 8). Links have names as they are, not encoded, for
 * clients compare them.
 */

const NAMESPACES = "/v2/metadefs/namespaces";

/** A namespace with the parts of it that are at hand and not empty (contract MN-52, MN-72). */
export function namespaceView(namespace: ListedNamespace): JsonObject {
  const { associations, properties = [], objects = [], tags = [] } = namespace;
  return {
    ...namespaceFieldsView(namespace),
    ...(associations.length > 0 && {
      resource_type_associations: associations.map(associationView),
    }),
    ...(properties.length > 0 && {
      properties: Object.fromEntries(
        properties.map(({ name, ...definition }) => [name, definition]),
      ),
    }),
    ...(objects.length > 0 && {
      objects: objects.map((object) => objectView(namespace.name, object)),
    }),
    ...(tags.length > 0 && { tags: tags.toReversed().map(tagNameView) }),
  };
}

/** What a namespace has itself (contract MN-50). */
export function namespaceFieldsView(namespace: Omit<Namespace, "id" | "revision">): JsonObject {
  const { name, displayName, description, visibility, isProtected, owner } = namespace;
  return {
    namespace: name,
    ...(displayName !== null && { display_name: displayName }),
    ...(description !== null && { description }),
    visibility,
    protected: isProtected,
    ...(owner !== null && { owner }),
    ...timesView(namespace),
    self: `${NAMESPACES}/${name}`,
    schema: "/v2/schemas/metadefs/namespace",
  };
}

/** An object as reads show it (contract MO-3). */
export function objectView(namespaceName: string, object: MetadefObject): JsonObject {
  const { name, description, required = [], properties = {} } = object;
  return {
    name,
    ...(description !== undefined && { description }),
    required,
    properties,
    ...timesView(object),
    self: `${NAMESPACES}/${namespaceName}/objects/${name}`,
    schema: "/v2/schemas/metadefs/object",
  };
}

/** An object as the call that writes it shows it: without what was not given (contract MO-3). */
export function writtenObjectView(namespaceName: string, object: MetadefObject): JsonObject {
  const { required, properties, ...rest } = objectView(namespaceName, object);
  return {
    ...rest,
    ...(object.required && { required }),
    ...(object.properties && { properties }),
  };
}

/** Properties by name, each with its name once more (contract MP-13). */
export function propertiesView(properties: readonly Property[]): JsonObject {
  return { properties: Object.fromEntries(properties.map((one) => [one.name, one])) };
}

export function tagView(tag: Tag): JsonObject {
  return { name: tag.name, ...timesView(tag) };
}

export function tagNameView({ name }: Tag): JsonObject {
  return { name };
}

export function associationView(association: Association): JsonObject {
  const { name, prefix, propertiesTarget } = association;
  return {
    name,
    ...(prefix !== undefined && { prefix }),
    ...(propertiesTarget !== undefined && { properties_target: propertiesTarget }),
    ...timesView(association),
  };
}

export function resourceTypeView(type: ResourceType): JsonObject {
  return { name: type.name, ...timesView(type) };
}

interface Times {
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

function timesView({ createdAtMs, updatedAtMs }: Times): JsonObject {
  return { created_at: formatTime(createdAtMs), updated_at: formatTime(updatedAtMs) };
}
