// Walks DAGs: what a block is, which shards have it, what it links to.

import {get, raw} from './api.js';
import {h, show, text, named, copyable, toast} from './dom.js';
import {live} from './live.js';
import {parse} from './cid.js';
import {folder, prefixOf} from './folder.js';
import {tree} from './tree.js';
import {preview} from './preview.js';
import * as f from './format.js';

// explore shows the block at the address: CID, or CID/name/name.
export function explore(rest, _, signal) {
  const wrong = h('p', {class: 'note bad', role: 'alert', hidden: true});
  const field = h('input', {type: 'search', id: 'cid', value: rest, placeholder: 'CID, ipfs://…, or /ipfs/…', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off'});
  const form = h('form', {class: 'filters', role: 'search', onsubmit: (e) => {
    e.preventDefault();
    const at = parse(field.value);
    wrong.hidden = Boolean(at);
    if (at) location.hash = address(at.cid, at.path);
    else text(wrong, 'There is no CID in that.');
  }}, h('label', {for: 'cid', class: 'unseen'}, 'CID or path'), field, h('button', {type: 'submit', class: 'primary'}, 'Look'));
  const body = h('div', {class: 'stack', 'aria-live': 'polite'});
  const at = parse(rest);
  if (at) walk(at, body, signal);
  else show(body, welcome());
  return h('div', {class: 'explore'}, h('h1', null, 'Explore'), form, wrong, body);
}
explore.title = () => 'Explore';

const address = (cid, path = []) => `#/explore/${[cid, ...path.map(encodeURIComponent)].join('/')}`;

function welcome() {
  const box = h('section', {class: 'card'}, h('h2', null, 'Paste a CID'),
    h('p', null, 'You see which shards have the block, what it is, and what it links to; folders, files and data can be walked through.'),
    h('div', null, h('p', {class: 'faint'}, 'Or begin with a root:'), h('ul', {class: 'plain'}, h('li', {class: 'faint'}, '…'))));
  get('shards?status=ready&limit=8').then(({shards}) => {
    const roots = shards.filter((s) => s.roots.length).map((s) => h('li', null, h('a', {href: address(s.roots[0]), class: 'cid'}, f.middle(s.roots[0], 40)), h('span', {class: 'faint small'}, ' ', named(s.key))));
    show(box.querySelector('ul'), roots.length ? roots : h('li', {class: 'faint'}, 'No shard is indexed yet.'));
  }).catch((err) => show(box.querySelector('ul'), h('li', {class: 'bad'}, err.message)));
  return box;
}

// walk goes along the names of a path, and shows where that ends.
async function walk({cid, path}, body, signal) {
  show(body, h('p', {class: 'waiting'}, 'Looking…'));
  const crumbs = [{name: f.middle(cid, 20), cid, href: address(cid)}];
  try {
    let block = await get(`blocks/${cid}`, {signal});
    for (const [i, name] of path.entries()) {
      const next = await step(block, name, signal);
      if (!next) {
        show(body, trail(crumbs), h('p', {class: 'note bad'}, 'There is nothing called ', named(name, 'key'), ' in this block.'), about(block), content(block, crumbs, signal));
        return;
      }
      crumbs.push({name, cid: next, href: address(cid, path.slice(0, i + 1))});
      block = await get(`blocks/${next}`, {signal});
    }
    show(body, trail(crumbs), about(block, crumbs.length > 1 ? crumbs.at(-1).name : ''), content(block, crumbs, signal), places(block));
  } catch (err) {
    if (err.name === 'AbortError') return;
    const at = crumbs.at(-1);
    show(body, trail(crumbs), h('section', {class: 'card'}, h('h2', null, err.status === 404 ? 'No shard has this block' : 'This block cannot be read'),
      h('p', {class: 'wrap'}, h('code', null, at.cid)), h('p', {class: err.status === 404 ? 'faint' : 'bad wrap'}, err.message),
      copyable(`dagstore find ${at.cid}`, 'the command that looks for it')));
  }
}

// step is the CID that a name leads to.
async function step(block, name, signal) {
  if (block.unixfs?.type === 'hamt-shard') {
    const width = prefixOf(block);
    for await (const entry of folder(block, width, signal)) if (entry.name === name) return entry.cid;
    return null;
  }
  const link = block.links.find((l) => (l.name ?? l.path) === name) ?? block.links[/^\d+$/.test(name) ? Number(name) : -1];
  return link?.cid ?? null;
}

function trail(crumbs) {
  return h('nav', {class: 'crumbs', 'aria-label': 'Path'}, h('ol', null, crumbs.map((c, i) => h('li', null,
    h('a', {href: c.href, 'aria-current': i === crumbs.length - 1 ? 'page' : null}, named(c.name))))));
}

const kinds = {directory: 'Folder', 'hamt-shard': 'Folder, sharded', file: 'File', symlink: 'Symbolic link', raw: 'File', metadata: 'Metadata'};

function about(b, name) {
  const gateway = live.store?.gateway?.replace(/\/$/, '');
  const file = b.unixfs ? ['file', 'raw'].includes(b.unixfs.type) : b.codec === 'raw';
  const here = `${gateway}/ipfs/${b.cid}`;
  const called = name ? `&filename=${encodeURIComponent(name)}` : '';
  const item = (title, ...value) => [h('dt', null, title), h('dd', null, value)];
  const out = {target: '_blank', rel: 'noopener noreferrer', class: 'button'};
  return h('section', {class: 'card', 'aria-label': 'The block'}, h('div', {class: 'headline'},
    h('h2', null, b.unixfs ? kinds[b.unixfs.type] ?? 'UnixFS' : b.codec === 'raw' ? 'Raw block' : `Block of ${b.codec}`),
    h('div', {class: 'buttons'},
      gateway && h('a', {href: `${here}${name ? `?filename=${encodeURIComponent(name)}` : ''}`, ...out}, 'Open'),
      gateway && file && h('a', {href: `${here}?download=true${called}`, ...out}, 'Download'),
      gateway && h('a', {href: `${here}?format=car&download=true`, ...out}, 'As CAR'),
      h('a', {href: `/api/v1/blocks/${b.cid}/raw`, download: `${b.cid}.bin`, class: 'button'}, 'This block'))),
  h('dl', {class: 'facts'},
    item('CID', copyable(b.cid, 'the CID')),
    item('Codec', `${b.codec} (0x${b.codec_code.toString(16)}), CID version ${b.version}`),
    item('Hash', b.hash),
    item('Block', h('span', {title: f.exactly(b.size)}, f.bytes(b.size))),
    b.unixfs && b.unixfs.size > 0 && item('File', h('span', {title: f.exactly(b.unixfs.size)}, f.bytes(b.unixfs.size)), ', as it says'),
    item('Links', f.count(b.link_count ?? b.links.length))),
  b.undecoded && h('p', {class: 'note'}, `Its inside is not shown: ${b.undecoded}.`),
  !gateway && h('p', {class: 'faint small'}, 'Files and folders can be opened while a gateway is served: by “dagstore serve”.'));
}

function content(b, crumbs, signal) {
  const names = crumbs.slice(1).map((c) => c.name);
  const below = (name) => address(crumbs[0].cid, [...names, name]);
  if (b.unixfs?.type === 'directory' || b.unixfs?.type === 'hamt-shard') return entries(b, below, signal);
  if (b.codec === 'raw') return preview(b, () => raw(`blocks/${b.cid}/raw`, {signal}));
  const parts = [];
  if (small(b)) parts.push(preview({size: b.unixfs.size}, () => whole(b, signal)));
  if (b.value !== undefined) parts.push(h('section', {class: 'card', 'aria-labelledby': 'value-title'}, h('h2', {id: 'value-title'}, 'Value'), tree(b.value, (cid) => address(cid))));
  if (b.links.length && b.value === undefined) parts.push(links(b));
  return parts;
}

// small reports whether b is a file that is short enough to be shown as one.
const small = (b) => b.unixfs?.type === 'file' && b.links.length > 0 && b.unixfs.size <= 64 << 10;

// whole reads a small file by its leaves.
async function whole(b, signal) {
  const parts = [];
  let asked = 0;
  const gather = async (node) => {
    for (const {cid} of node.links) {
      if (++asked > 300) throw new Error('It is in too many blocks to be shown.');
      if (cid.startsWith('bafk')) { // raw: a leaf
        parts.push(await raw(`blocks/${cid}/raw`, {signal}));
        continue;
      }
      const child = await get(`blocks/${cid}`, {signal});
      if (child.links.length === 0) throw new Error('Its bytes are inside of nodes; open it by the gateway.');
      await gather(child);
    }
  };
  await gather(b);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// entries are those of a folder, as many as somebody wants to see.
function entries(b, below, signal) {
  const rows = h('tbody');
  const told = h('p', {class: 'told', role: 'status'});
  const more = h('button', {type: 'button', onclick: () => fill()}, 'More');
  const all = folder(b, prefixOf(b), signal);
  let n = 0;
  const fill = async () => {
    more.disabled = true;
    try {
      for (const end = n + 500; n < end; n++) {
        const {value, done} = await all.next();
        if (done) {
          more.hidden = true;
          break;
        }
        rows.append(h('tr', {'data-row': ''}, h('td', {class: 'what'}, h('a', {href: below(value.name), class: 'key'}, named(value.name))),
          h('td', {class: 'num'}, value.size > 0 ? f.bytes(value.size) : '–'), h('td', {class: 'mono faint'}, h('span', {title: value.cid}, f.middle(value.cid, 18)))));
      }
    } catch (err) {
      if (err.name === 'AbortError') return;
      toast(err.message, true);
      more.hidden = true;
    }
    more.disabled = false;
    const cut = b.link_count > b.links.length ? ` The first ${f.count(b.links.length)} links of ${f.count(b.link_count)} are known to the page.` : '';
    text(told, (n === 0 ? 'It is empty.' : `${f.plural(n, 'entry', 'entries')}${more.hidden ? '' : ' so far'}.`) + cut);
  };
  fill();
  return h('div', {class: 'card flush'}, h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Entries'}, h('table', {class: 'list'},
    h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'Name'), h('th', {scope: 'col', class: 'num'}, 'Size'), h('th', {scope: 'col'}, 'CID'))), rows)),
  h('div', {class: 'pager'}, told, more));
}

function links(b) {
  return h('div', {class: 'card flush'}, h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Links'}, h('table', {class: 'list'},
    h('thead', null, h('tr', null, h('th', {scope: 'col', class: 'num'}, 'No.'), h('th', {scope: 'col'}, 'Link'), h('th', {scope: 'col', class: 'num'}, 'Below it'))),
    h('tbody', null, b.links.slice(0, 1000).map((l, i) => h('tr', {'data-row': ''}, h('td', {class: 'num faint'}, f.count(i)),
      h('td', {class: 'what'}, h('a', {href: address(l.cid), class: 'cid'}, f.middle(l.cid, 40)), (l.name || l.path) && h('div', {class: 'small'}, named(l.name ?? l.path))),
      h('td', {class: 'num'}, l.size > 0 ? f.bytes(l.size) : '–')))))),
  b.link_count > 1000 && h('p', {class: 'told'}, `The first 1,000 of ${f.count(b.link_count)}.`));
}

function places(b) {
  return h('section', {class: 'card flush', 'aria-labelledby': 'places-title'}, h('h2', {id: 'places-title'}, 'Where it lies'),
    b.locations.length === 0 ? h('p', {class: 'told'}, 'Nowhere: its bytes are in the CID itself.') :
      h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Shards that have it'}, h('table', {class: 'list'},
        h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'Shard'), h('th', {scope: 'col', class: 'num'}, 'At byte'))),
        h('tbody', null, b.locations.map((l) => h('tr', {'data-row': ''}, h('td', {class: 'what'}, h('a', {href: `#/shard/${encodeURIComponent(l.shard)}`, class: 'key'}, named(l.shard))), h('td', {class: 'num'}, f.count(l.file_offset))))))),
    b.more && h('p', {class: 'told'}, `The first ${b.locations.length}; there are more.`), copyable(`dagstore find ${b.cid}`, 'the command that finds it'));
}
