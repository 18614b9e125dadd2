// Finds the CID and the path in what people paste.

const word = /^(?:Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{8,}|B[A-Z2-7]{8,}|z[1-9A-HJ-NP-Za-km-z]{8,}|f[0-9a-f]{8,}|F[0-9A-F]{8,}|u[\w-]{8,}|m[\w+/]{8,}|k[0-9a-z]{8,})$/;

// parse reads a CID, ipfs://CID/path, /ipfs/CID/path, or the address of a
// gateway, by path or by name. It returns null for what is none of these; the
// server has the last word.
export function parse(pasted) {
  let rest = pasted.trim();
  const url = /^(https?|ipfs|dag|car):\/\/([^/?#]*)([^?#]*)/i.exec(rest);
  if (url) {
    const [, scheme, host, path] = url;
    const label = host.split('.')[0];
    if (!/^http/i.test(scheme)) rest = host + path;
    else if (/^[^.]+\.ipfs\./i.test(host) && word.test(label)) rest = label + path;
    else rest = path;
    try {
      rest = decodeURIComponent(rest);
    } catch { /* as it is */ }
  }
  rest = rest.replace(/^\/+/, '').replace(/^ipfs\//, '');
  const [cid, ...path] = rest.split('/');
  if (!word.test(cid)) return null;
  return {cid, path: path.filter((p) => p !== '')};
}
