import { Fault } from "../domain/fault.ts";
import type { Identity } from "../domain/identity.ts";
import type { Image, Membership } from "../domain/image.ts";
import { isVisible, type Viewer } from "../domain/visibility.ts";
import {
  type Check,
  type Credentials,
  parseExpression,
  type TargetAttributes,
} from "./expression.ts";
import { DEFAULT_RULES, type RuleName } from "./rules.ts";

/** The rules in force: the defaults, with an operator's own expressions in the place of some. */
export class Policy {
  readonly #checks = new Map<string, Check>();

  /** Throws an Error with a sentence when an override names no rule or is not of the policy language. */
  constructor(overrides: Readonly<Record<string, string>> = {}) {
    const texts = new Map<string, string>(Object.entries(DEFAULT_RULES));
    for (const [name, text] of Object.entries(overrides)) {
      if (!texts.has(name)) throw new Error(`there is no rule '${name}'`);
      texts.set(name, text);
    }
    const underWay = new Set<string>();
    const checkOf = (name: string): Check => {
      const known = this.#checks.get(name);
      if (known !== undefined) return known;
      const text = texts.get(name);
      if (text === undefined) throw new Error(`there is no rule '${name}'`);
      if (underWay.has(name)) throw new Error(`rule '${name}' refers to itself`);
      underWay.add(name);
      const check = parseExpression(text, checkOf);
      underWay.delete(name);
      this.#checks.set(name, check);
      return check;
    };
    for (const name of texts.keys()) {
      try {
        checkOf(name);
      } catch (cause) {
        throw new Error(`rule '${name}': ${(cause as Error).message}`, { cause });
      }
    }
  }

  /** Whether the caller is an administrator, in whatever project (contract CTX-4). */
  isAdmin(identity: Identity): boolean {
    return this.allows("context_is_admin", identity, {});
  }

  /** Whether a rule holds. Image rules are for project scope: a domain or system token has none (ROL-3). */
  allows(rule: RuleName, identity: Identity, target: TargetAttributes): boolean {
    if (identity.scope === "domain" || identity.scope === "system") return false;
    return this.#checks.get(rule)?.(credentialsOf(identity), target) ?? false;
  }

  /** The rule in force by a name that is somebody's choice; undefined where there is none. */
  ruleNamed(name: string): Check | undefined {
    return this.#checks.get(name);
  }

  /** Refuses with 403: for lists and creation, where there is no image to hide (MSK-5, MSK-6). */
  enforce(rule: RuleName, identity: Identity, target: TargetAttributes = {}): void {
    if (!this.allows(rule, identity, target)) throw new Fault("forbidden", { rule });
  }

  /**
   * The one gate for every call on one image: not visible is 404 whatever the rule; a denied rule is 403 to
   * those who may see the image and 404 to all others (contract MSK-1 … MSK-4).
   */
  enforceOnImage(rule: RuleName, identity: Identity, sight: ImageInSight): void {
    this.assertVisible(identity, sight);
    if (this.allowsOnImage(rule, identity, sight)) return;
    if (rule !== "get_image" && this.allowsOnImage("get_image", identity, sight)) {
      throw new Fault("forbidden", { rule });
    }
    throw new Fault("image_not_found", { imageId: sight.image.id });
  }

  /** Whether a rule holds for an image that the caller sees. */
  allowsOnImage(rule: RuleName, identity: Identity, sight: ImageInSight): boolean {
    return this.allows(rule, identity, targetOf(identity, sight));
  }

  /** 404 unless the image is there for this caller, before any policy (contract 06 §6.2). */
  assertVisible(identity: Identity, { image, membership }: ImageInSight): void {
    if (!isVisible(this.viewer(identity), image, membership)) {
      throw new Fault("image_not_found", { imageId: image.id });
    }
  }

  /** Whose view a caller has. */
  viewer(identity: Identity): Viewer {
    return { projectId: identity.projectId, seesAll: this.isAdmin(identity) };
  }
}

/** What rules know of a caller. */
export function credentialsOf({ roles, userId, projectId }: Identity): Credentials {
  return { roles, attributes: { user_id: userId, project_id: projectId } };
}

/** An image as one caller meets it. */
export interface ImageInSight {
  readonly image: Image;
  /** The status of the caller's own membership. */
  readonly membership: Membership;
  /** The member that the call is about; without it, the caller's own project if that is one. */
  readonly memberId?: string;
}

function targetOf(
  identity: Identity,
  { image, membership, memberId }: ImageInSight,
): TargetAttributes {
  const ownMemberId = membership === undefined ? null : identity.projectId;
  return {
    owner: image.owner,
    project_id: image.owner,
    visibility: image.visibility,
    member_id: memberId ?? ownMemberId,
  };
}
