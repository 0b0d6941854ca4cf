/*
 * Bindings with something around each call: to count the calls, to make them fail, to hold them up. The
 * wrappers know which methods go over the network; asking for one they do not know is an error, so that no
 * call gets past them unseen.
 */

/** One call on its way to a binding. */
export interface BindingCall {
  /** The binding's method; `part`, `complete` and `abort` are those of a multipart upload. */
  readonly operation: string;
  /** The R2 key, or undefined. */
  readonly key?: string;
  /** What R2 is asked for, or undefined. */
  readonly options?: unknown;
  /** D1's statements: several in a batch. */
  readonly statements?: readonly Statement[];
}

/** A statement with its values bound, and its text. */
export interface Statement {
  readonly sql: string;
  readonly prepared: D1PreparedStatement;
}

/** Stands around every call; calls through with `proceed`, or does not. */
export type Around = <T>(call: BindingCall, proceed: () => Promise<T>) => Promise<T>;

/** The method of that name, bound to its object. */
function methodOf(target: object, name: string | symbol): (...args: unknown[]) => unknown {
  const method: unknown = Reflect.get(target, name, target);
  if (typeof method !== "function") throw new Error(`there is no method ${String(name)}`);
  // A method of a remote object takes any name for one of the remote object's, `apply` too.
  return (...args) => Reflect.apply(method, target, args);
}

/** A D1 database with `around` standing around each round trip; a batch is one. */
export function interceptD1(db: D1Database, around: Around): D1Database {
  const originals = new WeakMap<D1PreparedStatement, Statement>();
  const wrap = (statement: Statement): D1PreparedStatement => {
    const wrapped = new Proxy(statement.prepared, {
      get(target, name) {
        if (name === "bind") {
          return (...values: unknown[]) => wrap({ ...statement, prepared: target.bind(...values) });
        }
        const method = methodOf(target, name);
        const call = { operation: String(name), statements: [statement] };
        return (...args: unknown[]) => around(call, async () => method(...args));
      },
    });
    originals.set(wrapped, statement);
    return wrapped;
  };
  const batch = (wrapped: readonly D1PreparedStatement[]) => {
    const statements = wrapped.map((statement) => {
      const original = originals.get(statement);
      if (original === undefined) throw new Error("the batch has a statement of another database");
      return original;
    });
    return around({ operation: "batch", statements }, () =>
      db.batch(statements.map(({ prepared }) => prepared)),
    );
  };
  return new Proxy(db, {
    get(target, name) {
      if (name === "prepare") return (sql: string) => wrap({ sql, prepared: target.prepare(sql) });
      if (name === "batch") return batch;
      throw new Error(`D1's ${String(name)} is not intercepted`);
    },
  });
}

const BUCKET_CALLS = ["head", "get", "put", "delete", "list"];

/** An R2 bucket with `around` standing around each operation, those of its multipart uploads included. */
export function interceptR2(bucket: R2Bucket, around: Around): R2Bucket {
  const wrapUpload = (upload: R2MultipartUpload): R2MultipartUpload =>
    new Proxy(upload, {
      get(target, name) {
        if (name === "key" || name === "uploadId") return target[name];
        // What is awaited is asked for this.
        if (name === "then") return undefined;
        const method = methodOf(target, name);
        const operation = name === "uploadPart" ? "part" : String(name);
        return (...args: unknown[]) =>
          around({ operation, key: target.key }, async () => method(...args));
      },
    });
  return new Proxy(bucket, {
    get(target, name) {
      const operation = String(name);
      if (name === "createMultipartUpload") {
        return async (key: string) =>
          wrapUpload(await around({ operation, key }, () => target.createMultipartUpload(key)));
      }
      if (name === "resumeMultipartUpload") {
        return (key: string, uploadId: string) =>
          wrapUpload(target.resumeMultipartUpload(key, uploadId));
      }
      if (!BUCKET_CALLS.includes(operation)) {
        throw new Error(`R2's ${operation} is not intercepted`);
      }
      const method = methodOf(target, name);
      return (key: string, ...args: unknown[]) =>
        around({ operation, key, options: operation === "put" ? undefined : args[0] }, async () =>
          method(key, ...args),
        );
    },
  });
}

/** Objects with `around` standing around each call of one of their methods. */
export function interceptObjects<T extends Rpc.DurableObjectBranded>(
  objects: DurableObjectNamespace<T>,
  around: Around,
): DurableObjectNamespace<T> {
  return new Proxy(objects, {
    get(target, property) {
      const method = methodOf(target, property);
      if (property !== "get") return method;
      return (id: DurableObjectId) =>
        new Proxy(target.get(id), {
          get(stub, name) {
            const call = methodOf(stub, name);
            return (...args: unknown[]) =>
              around({ operation: String(name) }, async () => call(...args));
          },
        });
    },
  });
}
