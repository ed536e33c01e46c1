// The one policy of Trusted Types: only this page's own workers may be started.

interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown };
}

const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;

const policy = factory?.createPolicy("syncline", {
  createScriptURL(url) {
    const absolute = new URL(url, document.baseURI);
    if (absolute.origin === location.origin && absolute.pathname.endsWith(".js")) return absolute.href;
    throw new TypeError("Only the page's own scripts may be started.");
  },
});

/** Starts a worker of this page. */
export function startWorker(url: string): Worker {
  const trusted = policy ? policy.createScriptURL(url) : url;
  return new Worker(trusted as string, { type: "module" });
}
