// One shard: what is known of it, what happened to it, what can be done.

import {get, shardPath} from './api.js';
import {h, show, named} from './dom.js';
import {live, listen, calmly} from './live.js';
import {actions, ask} from './actions.js';
import {badge} from './shards.js';
import {eventLine} from './events.js';
import {meterOf} from './jobs.js';
import * as f from './format.js';

export function shard(key, _, signal) {
  const head = h('div', {class: 'headline'}, h('h1', null, named(key, 'key')));
  const state = h('div', {class: 'state-line', role: 'status'});
  const tools = h('div', {class: 'buttons', role: 'group', 'aria-label': 'Actions'});
  const body = h('div', {class: 'detail'}, h('p', {class: 'waiting'}, 'Asking…'));
  const events = h('ol');
  let had = '';
  const load = async () => {
    let x;
    try {
      x = await get(shardPath(key), {signal});
    } catch (err) {
      if (err.name === 'AbortError') return;
      show(tools);
      show(state, err.status === 404 ? h('span', {class: 'badge removing'}, 'Gone') : '');
      show(body, h('p', {class: 'note bad'}, err.status === 404 ? 'There is no such shard, or no longer.' : err.message));
      return;
    }
    show(state, badge(x), h('span', {class: 'faint'}, x.state), now(x));
    const can = actions(x);
    const sign = JSON.stringify([x.status, x.pinned, x.local > 0, x.last_copy, x.mount]);
    if (sign !== had) { // the buttons stay while they are the same, and so does the focus
      had = sign;
      const may = live.may('write');
      show(tools, can.map((a) => h('button', {type: 'button', class: a.danger ? 'danger' : a.primary ? 'primary' : null, disabled: !may || Boolean(a.disabled),
        title: may ? a.disabled || a.about : 'Your session may only look', onclick: () => ask(a)}, `${a.name}…`)));
    }
    show(body, failure(x), facts(x), faults(x));
    show(events, [...x.events ?? []].reverse().map((e) => eventLine(e)));
    if (!x.events?.length) show(events, h('li', {class: 'faint'}, 'Nothing is remembered: only the last events of the store are.'));
  };
  const calm = calmly(700, load);
  listen(signal, 'event', ({detail: e}) => {
    if (e.key === key || e.kind === 'gap') calm();
  });
  listen(signal, 'connection', () => live.connected && calm());
  calm();
  return h('div', {class: 'shard'}, h('nav', {class: 'crumbs', 'aria-label': 'Way back'}, h('a', {href: '#/shards'}, '← Shards')), head, state, tools, body,
  h('section', {class: 'card', 'aria-labelledby': 'its-events'}, h('h2', {id: 'its-events'}, 'Events'),
    h('div', {class: 'events', role: 'log', 'aria-live': 'off', tabindex: '0', 'aria-label': 'Events of this shard'}, events)));
}
shard.title = (key) => key;

// now is what goes on.
function now(x) {
  const out = [];
  if (x.holders) out.push(h('span', {class: 'tag'}, `held by ${f.count(x.holders)}`));
  if (x.waiting) out.push(h('span', {class: 'tag'}, `${f.count(x.waiting)} waiting`));
  if (x.claimed) out.push(h('span', {class: 'tag warn', title: 'The index came with the CAR, and is not confirmed yet'}, 'index claimed'));
  const p = x.progress;
  if (p) out.push(h('span', {class: 'progress-line'}, p.op, meterOf(p.done, p.total, `${p.op} of this shard`), f.bytes(p.done), p.total > 0 && ` of ${f.bytes(p.total)}`, p.rate > 0 && `, ${f.bytes(p.rate)} / s`));
  return out;
}

function failure(x) {
  const bad = x.failure;
  if (!bad) return null;
  return h('section', {class: 'card note bad', 'aria-labelledby': 'failure-title'}, h('h2', {id: 'failure-title'}, `Failed at: ${bad.op || 'work'}`),
    h('p', {class: 'wrap'}, named(bad.error)),
    h('p', {class: 'small faint'}, h('code', null, bad.problem), bad.causes?.length > 1 && ` (${bad.causes.join(', ')})`, `, ${f.plural(bad.attempts, 'attempt')}, last `, h('span', {title: f.moment(bad.at)}, f.ago(bad.at)), '.'));
}

const cidLink = (cid) => h('a', {href: `#/explore/${cid}`, class: 'cid'}, cid);

function facts(x) {
  const item = (name, ...value) => [h('dt', null, name), h('dd', null, value)];
  const group = (title, ...items) => h('section', {class: 'card'}, h('h2', null, title), h('dl', {class: 'facts'}, items));
  const known = x.version > 0;
  const labels = Object.entries(x.labels ?? {});
  return h('div', {class: 'groups'},
    group('Where it lies',
      item('Source', h('span', {class: 'wrap mono'}, named(x.mount))),
      x.source && item('Version there', h('span', {class: 'wrap mono'}, named(x.source))),
      item('Read', {auto: 'as suits it', inplace: 'in place', sparse: 'in place, ranges kept here', copy: 'as a copy'}[x.mode] ?? x.mode),
      item('Copy here', x.local > 0 ? [f.bytes(x.local), x.complete ? ', all of it' : ', ranges of it', x.last_copy && h('span', {class: 'tag warn'}, 'may be the last')] : 'none', x.pinned && h('span', {class: 'tag'}, 'pinned'))),
    group('What it is', known ? [
      item('CAR', `version ${x.version}, `, h('span', {title: f.exactly(x.bytes)}, f.bytes(x.bytes))),
      item('Blocks', f.count(x.sections), x.multihashes !== x.sections && `, ${f.count(x.multihashes)} different`),
      x.payload && item('Payload', `${f.bytes(x.payload.size)} from byte ${f.count(x.payload.offset)}`, x.trailing && ', something trails it'),
      item(x.root_count === 1 ? 'Root' : 'Roots', x.roots.length === 0 ? 'none' : x.roots.slice(0, 20).map((r) => h('div', {class: 'wrap'}, cidLink(r))), x.root_count > Math.min(20, x.roots.length) && `of ${f.count(x.root_count)}`)] : item('CAR', 'not read yet'),
    x.piece && item('Piece', h('span', {class: 'wrap mono'}, x.piece), x.piece_checked ? [', checked ', h('span', {title: f.moment(x.piece_checked)}, f.ago(x.piece_checked))] : ', as claimed')),
    group('How it is',
      item('Verified', x.verified === 'full' ? 'every block' : x.verified === 'sampled' ? 'a sample' : 'not while indexing', x.verified_at && [', ', h('span', {title: f.moment(x.verified_at)}, f.ago(x.verified_at))]),
      item('Faults', x.faults ? h('span', {class: 'bad'}, f.count(x.faults)) : 'none'),
      item('Registered', h('span', {title: f.moment(x.registered)}, f.ago(x.registered))),
      item('Changed', h('span', {title: f.moment(x.changed)}, f.ago(x.changed))),
      labels.length > 0 && item('Labels', labels.map(([k, v]) => h('a', {class: 'tag', href: `#/shards?label=${encodeURIComponent(`${k}=${v}`)}`}, named(`${k}=${v}`))))));
}

function faults(x) {
  if (!x.faulty?.length) return null;
  return h('section', {class: 'card'}, h('h2', null, 'Damage'), h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Damage'}, h('table', {class: 'list'},
    h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'What'), h('th', {scope: 'col', class: 'num'}, 'At byte'), h('th', {scope: 'col'}, 'Block'))),
    h('tbody', null, x.faulty.map((d) => h('tr', null, h('td', null, d.kind, d.detail && h('div', {class: 'faint small'}, named(d.detail))), h('td', {class: 'num'}, f.count(d.offset)), h('td', {class: 'wrap'}, d.cid ? cidLink(d.cid) : '–')))))),
  x.faults > x.faulty.length && h('p', {class: 'faint'}, `The first ${x.faulty.length} of ${f.count(x.faults)}.`));
}
