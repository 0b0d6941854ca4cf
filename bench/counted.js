// Glimpse behind counters: every call that it and its image objects make of a binding is counted, and `/__tally` tells.
// The Worker and the objects share one isolate, and so one tally.

import worker, { ImageObject as BareImageObject } from "./index.js";

// The other classes of objects, as they are.
export * from "./index.js";

const ZERO = { d1Trips: 0, rowsRead: 0, rowsWritten: 0, storeCalls: 0, objectCalls: 0 };
const tally = { ...ZERO };

export default {
  async fetch(request, env, execution) {
    if (new URL(request.url).pathname !== "/__tally") {
      return worker.fetch(request, counted(env), execution);
    }
    if (request.method === "DELETE") Object.assign(tally, ZERO);
    return Response.json(tally);
  },
};

export class ImageObject extends BareImageObject {
  constructor(state, env) {
    super(state, counted(env));
  }
}

const countedEnvs = new WeakMap();

function counted(env) {
  let own = countedEnvs.get(env);
  if (own === undefined) {
    own = {
      ...env,
      DB: countD1(env.DB),
      BLOBS: countR2(env.BLOBS),
      ARCHIVE: countR2(env.ARCHIVE),
      DISK: countService(env.DISK),
      IMAGE_OBJECT: countObjects(env.IMAGE_OBJECT),
    };
    countedEnvs.set(env, own);
  }
  return own;
}

function countService(service) {
  const fetch = (...request) => {
    tally.storeCalls += 1;
    return service.fetch(...request);
  };
  return { fetch };
}

function countD1(db) {
  const bare = new WeakMap();
  const addRows = (results) => {
    for (const { meta } of results) {
      tally.rowsRead += meta.rows_read;
      tally.rowsWritten += meta.rows_written;
    }
  };
  const batch = async (statements) => {
    tally.d1Trips += 1;
    const results = await db.batch(statements);
    addRows(results);
    return results;
  };
  const wrap = (sql, statement) => {
    const run = async () => (await batch([statement]))[0];
    const raw = async () => {
      const { results } = await run();
      // Rows without names cannot be made of rows with names that may occur twice, but reading twice does no harm.
      if (/^\s*select/i.test(sql)) return statement.raw();
      return results.map((row) => Object.values(row));
    };
    const first = async () => (await run()).results[0] ?? null;
    const bind = (...values) => wrap(sql, statement.bind(...values));
    const own = { bind, run, all: run, first, raw };
    bare.set(own, statement);
    return own;
  };
  return {
    prepare: (sql) => wrap(sql, db.prepare(sql)),
    batch: (statements) => batch(statements.map((own) => bare.get(own))),
  };
}

function countR2(target) {
  return new Proxy(target, {
    get(_, name) {
      const method = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args) => {
        const isFree = name === "resumeMultipartUpload";
        if (!isFree) tally.storeCalls += 1;
        const given = method.apply(target, args);
        if (isFree) return countR2(given);
        return name === "createMultipartUpload" ? given.then(countR2) : given;
      };
    },
  });
}

function countObjects(objects) {
  return {
    idFromName: (name) => objects.idFromName(name),
    get: (id) => {
      const stub = objects.get(id);
      return new Proxy(stub, {
        get:
          (_, method) =>
          (...args) => {
            tally.objectCalls += 1;
            return stub[method](...args);
          },
      });
    },
  };
}
