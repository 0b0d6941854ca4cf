import { handle } from "./app.ts";

export { SignInTallies } from "./auth/sign-in-tallies.ts";
export { ImageObject } from "./image-object/image-object.ts";

export default {
  fetch: (request, env, execution) => handle(request, env, execution),
} satisfies ExportedHandler<Env>;
