// The board: is anything wrong, how much is there, what goes on.

import {get, query} from './api.js';
import {h, show, put, text, named, drawing} from './dom.js';
import {live, listen, calmly} from './live.js';
import {plot} from './plots.js';
import {eventLine} from './events.js';
import * as f from './format.js';

export function board(_, __, signal) {
  const parts = [attention(signal), figures(signal), lifecycle(signal), plots(signal), hosts(signal), lately(signal)];
  listen(signal, 'connection', () => live.connected && live.refresh());
  return h('div', {class: 'board'}, h('h1', {class: 'unseen'}, 'Board'), parts);
}
board.title = () => 'Board';

// attention lists what somebody should look at, the worst first.
function attention(signal) {
  const list = h('ul', {class: 'attention', 'aria-live': 'polite', 'aria-label': 'What wants attention'});
  let said = '';
  const update = () => {
    const rows = concerns();
    const now = JSON.stringify(rows);
    if (now === said) return;
    said = now;
    show(list, rows.map((r) => h('li', {class: r.level}, h('span', {class: 'mark', 'aria-hidden': 'true'}),
      h('span', null, h('strong', null, r.what), r.more && [' ', named(r.more)], r.href && [' ', h('a', {href: r.href}, r.to)]))));
  };
  listen(signal, 'stats', update);
  listen(signal, 'hosts', update);
  if (live.stats) update();
  else show(list, h('li', {class: 'calm'}, h('span', {class: 'mark', 'aria-hidden': 'true'}), 'Asking…'));
  return list;
}

function concerns() {
  const {stats, hosts} = live;
  const rows = [];
  if (!stats) return rows;
  const failed = stats.status.failed ?? 0;
  if (failed) rows.push({level: 'bad', what: `${f.plural(failed, 'shard')} failed.`, href: '#/shards?status=failed', to: 'Look at them'});
  for (const host of hosts.filter((x) => x.down)) {
    rows.push({level: 'bad', what: `${host.host} is down${host.since ? `, since ${f.clock(host.since)}` : ''}.`, more: host.error ?? '', href: `#/shards?host=${encodeURIComponent(f.hostOf(host.host))}`, to: 'Its shards'});
  }
  if (stats.faults) rows.push({level: 'warn', what: `${f.plural(stats.faults, 'piece')} of damage met since the start.`, more: 'Damaged blocks are not served.'});
  if (stats.quota && stats.copy_bytes > stats.quota * .95) rows.push({level: 'warn', what: 'Copies have nearly all of their space.', more: `${f.bytes(stats.copy_bytes)} of ${f.bytes(stats.quota)}.`});
  if (stats.last_copy_bytes) rows.push({level: 'warn', what: `${f.bytes(stats.last_copy_bytes)} may be last copies:`, more: 'their source does not answer, or has something else. They are kept.'});
  if (stats.events_dropped) rows.push({level: 'warn', what: `${f.plural(stats.events_dropped, 'event')} dropped since the start.`});
  if (stats.counting) rows.push({level: 'calm', what: 'Still counting the shards.', more: 'Figures are too small until that is done.'});
  const busy = (stats.status.indexing ?? 0);
  if (busy) rows.push({level: 'calm', what: `${f.plural(busy, 'shard')} being indexed.`, href: '#/shards?status=indexing', to: 'Look at them'});
  if (!rows.some((r) => r.level !== 'calm')) {
    rows.unshift({level: 'good', what: stats.total ? 'All is well.' : 'The store is empty.', ...(stats.total ? {} : {href: '#/add', to: 'Add CARs'})});
  }
  return rows;
}

// figure is one number with its name.
function figure(name, title) {
  const value = h('div', {class: 'value'}, h('span', {class: 'number'}, '–'), h('span', {class: 'unit'}));
  const more = h('div', {class: 'more'});
  const el = h('div', {class: 'figure', title}, h('dt', null, name), h('dd', null, value, more));
  el.set = (number, unit, rest, exact) => {
    text(value.firstChild, number);
    text(value.lastChild, unit);
    text(more, rest);
    if (exact) value.title = exact;
  };
  return el;
}

function figures(signal) {
  const shards = figure('Shards');
  const blocks = figure('Blocks', 'Sections of all indexed CARs: a block that lies in several counts in each');
  const size = figure('CARs', 'Bytes of all indexed CARs, where they lie');
  const copies = figure('Copies', 'Bytes of CARs that are kept on this machine');
  const last = figure('Last copies', 'Bytes of copies whose source does not answer, or has something else: they are never evicted');
  const index = figure('Index', 'Bytes of the indices of all shards');
  const meter = h('meter', {min: '0', max: '1', low: '.85', high: '.95', optimum: '0', value: 0, 'aria-label': 'Share of the quota'});
  put(copies.lastChild, meter);
  const update = () => {
    const s = live.stats;
    if (!s) return;
    shards.set(f.count(s.total), '', `${f.count(s.status.ready ?? 0)} ready`);
    if (s.blocks === undefined) blocks.hidden = size.hidden = true;
    blocks.set(f.short(s.blocks), '', s.total ? `${f.short(Math.round((s.blocks ?? 0) / s.total))} a shard` : '', f.count(s.blocks));
    size.set(...f.parts(s.bytes), '', f.exactly(s.bytes ?? -1));
    copies.set(...f.parts(s.copy_bytes), s.quota ? `of ${f.bytes(s.quota)}, ${f.plural(s.copies, 'copy', 'copies')}` : 'no quota: none are made', f.exactly(s.copy_bytes));
    meter.hidden = !s.quota;
    meter.value = s.quota ? Math.min(1, s.copy_bytes / s.quota) : 0;
    last.set(...f.parts(s.last_copy_bytes), s.last_copy_bytes ? 'kept from eviction' : 'all sources answer', f.exactly(s.last_copy_bytes));
    last.classList.toggle('warn', s.last_copy_bytes > 0);
    index.set(...f.parts(s.index_bytes), s.bytes ? `${(100 * s.index_bytes / s.bytes).toFixed(2)} % of the CARs` : '', f.exactly(s.index_bytes));
  };
  listen(signal, 'stats', update);
  update();
  return h('section', {class: 'card', 'aria-label': 'The store in figures'},
    h('dl', {class: 'figures'}, shards, blocks, size, copies, last, index));
}

// lifecycle is the diagram, with how many shards are in each state.
function lifecycle(signal) {
  const frames = {wide: h('div', {class: 'drawing wide'}), narrow: h('div', {class: 'drawing narrow'})};
  const counts = () => {
    const s = live.stats;
    if (!s) return;
    for (const frame of Object.values(frames)) {
      for (const state of frame.querySelectorAll('.state')) {
        const n = s.shards[state.dataset.state] ?? 0;
        text(state.querySelector('.count'), f.count(n));
        state.classList.toggle('none', n === 0);
        state.setAttribute('aria-label', `${f.upper(state.dataset.state)} ${f.plural(n, 'shard')}`);
      }
    }
  };
  for (const [name, frame] of Object.entries(frames)) {
    drawing(`/lifecycle-${name}.svg`).then((svg) => {
      pointing(svg);
      frame.append(svg);
      counts();
    }).catch((err) => put(frame, h('p', {class: 'note bad'}, `The diagram: ${err.message}`)));
  }
  listen(signal, 'stats', counts);
  // What happens is seen to happen, as far as it is not too much to be seen.
  let room = 0;
  const beat = setInterval(() => { room = 24; }, 250);
  signal.addEventListener('abort', () => clearInterval(beat));
  listen(signal, 'event', ({detail: e}) => {
    if (e.kind !== 'transition' || document.hidden || room-- <= 0) return;
    for (const frame of Object.values(frames)) {
      const way = frame.querySelector(`.way[data-from="${e.from}"][data-to="${e.to}"]`);
      way?.classList.remove('moved');
      way?.getBoundingClientRect(); // so that it begins again
      way?.classList.add('moved');
    }
  });
  const hint = h('p', {class: 'faint hint'}, 'A state leads to its shards. Point at one to see every way out of it; a dot at its corner is the way out of the store.');
  return h('section', {class: 'card', 'aria-labelledby': 'states-title'},
    h('h2', {id: 'states-title'}, 'Shards by state'), frames.wide, frames.narrow, hint);
}

// pointing shows the ways of the state that is pointed at, or has the focus.
function pointing(svg) {
  const mark = (state) => {
    svg.classList.toggle('pointed', Boolean(state));
    for (const way of svg.querySelectorAll('.way')) {
      way.classList.toggle('out', way.dataset.from === state);
      way.classList.toggle('in', way.dataset.to === state);
    }
  };
  for (const state of svg.querySelectorAll('.state')) {
    for (const [kind, what] of [['pointerenter', state.dataset.state], ['pointerleave', ''], ['focus', state.dataset.state], ['blur', '']]) {
      state.addEventListener(kind, () => mark(what));
    }
  }
}

// plots are the last minutes.
function plots(signal) {
  const rate = (get) => (x) => x.seconds > 0 ? get(x) / x.seconds : 0;
  const perSecond = (n) => `${f.short(n)} / s`;
  const all = [
    plot('Requests', 'of the gateway', perSecond, [{name: 'Answered', of: rate((x) => x.requests)}, {name: 'Failed', of: rate((x) => x.failed), bad: true}]),
    plot('Sent', 'by the gateway', (n) => `${f.bytes(n)} / s`, [{name: 'Bytes', of: rate((x) => x.bytes)}]),
    plot('Blocks read', 'and found good', perSecond, [{name: 'Blocks', of: rate((x) => x.blocks)}]),
    plot('Latency', 'to the first byte', f.seconds, [{name: 'Half within', of: (x) => x.p50 ?? null}, {name: '99 % within', of: (x) => x.p99 ?? null, second: true}]),
  ];
  const samples = [];
  const most = 450;
  let asking = false;
  const look = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const {samples: more, since} = await get(`history${query({after: samples.at(-1)?.at})}`, {signal});
      if (samples.length && since && samples[0].since !== since) samples.length = 0; // another process
      for (const x of more) samples.push({...x, since});
      samples.splice(0, Math.max(0, samples.length - most));
      for (const p of all) p.draw(samples);
    } catch (err) {
      if (err.status === 404) clearInterval(timer);
    } finally {
      asking = false;
    }
  };
  const timer = setInterval(look, 2000);
  signal.addEventListener('abort', () => {
    clearInterval(timer);
    for (const p of all) p.end();
  });
  look();
  return h('section', {class: 'plots', 'aria-label': 'The last minutes'}, all.map((p) => p.element));
}

function hosts(signal) {
  const body = h('div');
  const update = () => {
    if (live.hosts.length === 0) {
      show(body, h('p', {class: 'faint'}, 'No server has been reached for: all that was read lies on this machine.'));
      return;
    }
    const sorted = [...live.hosts].sort((a, b) => Number(b.down) - Number(a.down) || b.calls - a.calls);
    show(body, h('ul', {class: 'hosts'}, sorted.slice(0, 50).map((x) => h('li', {'data-row': ''},
      h('div', {class: 'row'}, h('span', {class: `badge ${x.down ? 'failed' : 'ready'}`}, x.down ? 'Down' : 'Up'),
        h('a', {href: `#/shards?host=${encodeURIComponent(f.hostOf(x.host))}`}, named(x.host)),
        h('span', {class: 'faint small'}, f.plural(x.calls, 'call'), x.failed > 0 && `, ${f.count(x.failed)} failed`)),
      x.down && h('p', {class: 'small'}, x.since && `Since ${f.clock(x.since)}`, x.until && `, asked again at ${f.clock(x.until)}`, '.', x.error && h('span', {class: 'bad wrap'}, ' ', named(x.error)))))),
    sorted.length > 50 && h('p', {class: 'faint small'}, `The first 50 of ${f.count(sorted.length)}.`));
  };
  listen(signal, 'hosts', update);
  const again = setInterval(() => document.hidden || live.askHosts(), 10000);
  signal.addEventListener('abort', () => clearInterval(again));
  update();
  return h('section', {class: 'card', 'aria-labelledby': 'hosts-title'}, h('h2', {id: 'hosts-title'}, 'Source hosts'), body);
}

// lately are the last events.
function lately(signal) {
  const list = h('ol');
  const gap = h('p', {class: 'note warn', role: 'status', hidden: true});
  const update = calmly(500, () => {
    const missed = live.gap;
    gap.hidden = !missed;
    if (missed) text(gap, `At ${f.clock(missed.at)} ${missed.missed > 0 ? f.plural(missed.missed, 'event was', 'events were') : 'an unknown number of events was'} missed. The figures are right all the same.`);
    show(list, live.events.filter((e) => e.kind !== 'work').slice(0, 60).map((e) => eventLine(e, true)));
    if (live.events.length === 0) show(list, h('li', {class: 'faint'}, 'Nothing has happened since you came.'));
  });
  listen(signal, 'event', update);
  update();
  return h('section', {class: 'card', 'aria-labelledby': 'events-title'}, h('h2', {id: 'events-title'}, 'Lately'), gap,
    h('div', {class: 'events', role: 'log', 'aria-live': 'off', 'aria-label': 'Events', tabindex: '0'}, list));
}
