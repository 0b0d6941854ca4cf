/**
 * The policy language of the reference: checks (`role:admin`, `project_id:%(owner)s`, `'public':%(visibility)s`,
 * `rule:name`, `@` for always, `!` for never) joined by `and`, `or`, `not` and parentheses. An empty
 * expression always holds.
 */
export interface Credentials {
  readonly roles: readonly string[];
  readonly attributes: Readonly<Record<string, string | null>>;
}

export type TargetAttributes = Readonly<Record<string, string | null>>;
export type Check = (credentials: Credentials, target: TargetAttributes) => boolean;

/** Turns an expression into a check. Throws an Error with a sentence when it is not of the language. */
export function parseExpression(text: string, ruleNamed: (name: string) => Check): Check {
  const tokens = tokenize(text);
  if (tokens.length === 0) return () => true;
  let next = 0;

  const parseOr = (): Check => {
    const checks = [parseAnd()];
    while (isWord(tokens[next], "or")) {
      next++;
      checks.push(parseAnd());
    }
    return (who, target) => checks.some((check) => check(who, target));
  };
  const parseAnd = (): Check => {
    const checks = [parseNot()];
    while (isWord(tokens[next], "and")) {
      next++;
      checks.push(parseNot());
    }
    return (who, target) => checks.every((check) => check(who, target));
  };
  const parseNot = (): Check => {
    if (isWord(tokens[next], "not")) {
      next++;
      const check = parseNot();
      return (who, target) => !check(who, target);
    }
    return parsePrimary();
  };
  const parsePrimary = (): Check => {
    const token = tokens[next++];
    if (token === undefined) throw new Error("the expression ends too early");
    if (token === "(") {
      const inner = parseOr();
      if (tokens[next++] !== ")") throw new Error("a parenthesis is not closed");
      return inner;
    }
    return parseCheck(token, ruleNamed);
  };

  const check = parseOr();
  if (next < tokens.length)
    throw new Error(`'${tokens[next]}' stands where 'and' or 'or' is expected`);
  return check;
}

function isWord(token: string | undefined, word: string): boolean {
  return token?.toLowerCase() === word;
}

function tokenize(text: string): string[] {
  // A target attribute brings parentheses of its own: %(owner)s is part of its check.
  return text.match(/(?:%\(\w+\)s|[^\s()])+|[()]/g) ?? [];
}

function parseCheck(token: string, ruleNamed: (name: string) => Check): Check {
  if (token === "@") return () => true;
  if (token === "!") return () => false;
  const colon = token.indexOf(":");
  if (colon < 1) throw new Error(`'${token}' is not a check`);
  const kind = token.slice(0, colon);
  const match = token.slice(colon + 1);
  if (kind === "role") {
    const role = match.toLowerCase();
    return (who) => who.roles.includes(role);
  }
  if (kind === "rule") return ruleNamed(match);
  const wanted = parseMatch(match);
  const literal = /^'([^']*)'$/.exec(kind)?.[1];
  if (literal === undefined && !/^\w+$/.test(kind)) throw new Error(`'${token}' is not a check`);
  return (who, target) => {
    const left = literal ?? who.attributes[kind] ?? null;
    return left !== null && left === wanted(target);
  };
}

function parseMatch(match: string): (target: TargetAttributes) => string | null {
  const attribute = /^%\((\w+)\)s$/.exec(match)?.[1];
  if (attribute !== undefined) return (target) => target[attribute] ?? null;
  if (/[%()]/.test(match)) throw new Error(`'${match}' is not a value`);
  return () => match.replace(/^'(.*)'$/, "$1");
}
