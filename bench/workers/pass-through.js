/** The least a Worker can do: hand the request to the origin and its answer to the client. */
export default {
  fetch(request, env) {
    return fetch(env.ORIGIN_URL + new URL(request.url).pathname, request);
  },
};
