import { handle } from "./app.ts";

export { ImageObject } from "./image-object/image-object.ts";

export default { fetch: handle } satisfies ExportedHandler<Env>;
