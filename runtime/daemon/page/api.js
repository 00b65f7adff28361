// Requests to the daemon. What changes something says that it comes from this page.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let onSignedOut = () => {};

/** Call `listener` when the daemon wants a token. */
export function whenSignedOut(listener) {
  onSignedOut = listener;
}

export function get(path) {
  return request(path, {});
}

export function post(path, content) {
  const isForm = content instanceof FormData;
  return request(path, {
    method: "POST",
    body: isForm ? content : JSON.stringify(content ?? {}),
    headers: {
      "X-Requested-With": "adcopilot-edge",
      ...(isForm ? {} : { "Content-Type": "application/json" }),
    },
  });
}

async function request(path, options) {
  const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  const content = await answer.json().catch(() => null);
  if (answer.ok) return content;
  if (answer.status === 401 && path !== "/login") onSignedOut();
  throw new ApiError(answer.status, wordsOf(content) || `${answer.status} ${answer.statusText}`);
}

function wordsOf(content) {
  if (!content) return "";
  if (content.error) return content.error.message;
  const detail = content.detail;
  if (Array.isArray(detail)) return detail.map((item) => `${(item.loc || []).at(-1)}: ${item.msg}`).join("; ");
  return typeof detail === "string" ? detail : "";
}

/** Who uses the page; an empty object where the daemon knows no roles. */
export async function session() {
  try {
    const told = await get("/v1/session");
    if (told.signed_in === false && told.needs_token !== false) onSignedOut();
    return told;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return {};
    throw error;
  }
}
