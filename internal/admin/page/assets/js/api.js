// Talks to the admin API.

const base = '/api/v1/';

// A Refusal is an answer that is a problem (RFC 9457), or none at all.
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status; // 0: there was no answer
    this.problem = problem;
    this.kind = String(problem.type ?? '').split('/').pop();
  }
}

let signedOut = () => {};
// onSignedOut is told when the API does not know us any more.
export function onSignedOut(f) { signedOut = f; }

async function ask(method, path, options = {}) {
  const init = {method, headers: {...options.headers}, signal: options.signal};
  if (options.json !== undefined) {
    init.headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(options.json);
  } else if (options.body !== undefined) {
    init.body = options.body;
  }
  let answer;
  try {
    answer = await fetch(base + path, init);
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    throw new Refusal(0, {title: 'The store does not answer.'});
  }
  if (answer.ok) return answer;
  let problem = {title: answer.statusText};
  try {
    problem = await answer.json();
  } catch { /* no problem of ours */ }
  const refusal = new Refusal(answer.status, problem);
  if (answer.status === 401 && !options.quiet) signedOut();
  throw refusal;
}

export async function get(path, options) {
  return (await ask('GET', path, options)).json();
}

export async function post(path, json, options) {
  const answer = await ask('POST', path, {json, ...options});
  return answer.status === 204 ? null : answer.json();
}

export async function remove(path) { await ask('DELETE', path); }

// send sends a list, as it is.
export async function send(path, body) {
  return (await ask('POST', path, {body, headers: {'Content-Type': 'application/x-ndjson'}})).json();
}

// raw is an answer as bytes.
export async function raw(path, options) {
  return new Uint8Array(await (await ask('GET', path, options)).arrayBuffer());
}

// lines reads NDJSON while it comes.
export async function* lines(path, options) {
  const answer = await ask('GET', path, options);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const all = (rest + value).split('\n');
    rest = all.pop();
    yield all.filter((line) => line !== '').map((line) => JSON.parse(line));
  }
}

// query writes the parameters that have a value.
export function query(values) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== '' && value !== null && value !== undefined && value !== false) q.set(name, value);
  }
  const out = q.toString();
  return out ? `?${out}` : '';
}

// shardPath is the path of a shard. Some keys are no segment of a path.
export function shardPath(key, below = '', params = {}) {
  const plain = !['.', '..', '/', '-'].includes(key);
  return `shards/${plain ? encodeURIComponent(key) : '-'}${below}${query(plain ? params : {key, ...params})}`;
}
