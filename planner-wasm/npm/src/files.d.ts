// The one function of Node that this package calls.
export function readFile(path: URL): Promise<Uint8Array<ArrayBuffer>>;
