import { Fault } from "../fault.ts";
import { findPart } from "./changes.ts";
import type { Property, WholeNamespace } from "./namespace.ts";

/*
 * A resource type may have the properties of a namespace under names with a prefix: what is `watchdog_action` here is
 * `hw_watchdog_action` on an image.
 */

/** A namespace with its properties named as that type of resource has them (contract MN-53). */
export function prefixed(namespace: WholeNamespace, resourceType: string): WholeNamespace {
  const { associations, properties, objects } = namespace;
  const prefix = associations.find(({ name }) => name === resourceType)?.prefix ?? "";
  if (prefix === "") return namespace;
  const renamed = (name: string) => `${prefix}${name}`;
  return {
    ...namespace,
    properties: properties.map((property) => ({ ...property, name: renamed(property.name) })),
    objects: objects.map((object) => ({
      ...object,
      ...(object.required && { required: object.required.map(renamed) }),
      ...(object.properties && {
        properties: Object.fromEntries(
          Object.entries(object.properties).map(([name, property]) => [renamed(name), property]),
        ),
      }),
    })),
  };
}

/** A property by the name that a type of resource has it under (contract MP-14). Throws `metadef_not_found`. */
export function findPrefixed(
  namespace: WholeNamespace,
  resourceType: string,
  name: string,
): Property {
  const { prefix = "" } = findPart(namespace, "resource type", resourceType);
  if (prefix === "" || !name.startsWith(prefix)) {
    throw new Fault("metadef_not_found", { kind: "property", name });
  }
  return findPart(namespace, "property", name.slice(prefix.length));
}
