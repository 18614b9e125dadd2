// The shards in a table. The server searches and pages; the page asks on until it
// has a full page, and says how far it has come.

import {get, query} from './api.js';
import {h, show, text, named} from './dom.js';
import {live, listen, calmly} from './live.js';
import {ask, recoverMany} from './actions.js';
import * as f from './format.js';

const statuses = ['ready', 'lazy', 'indexing', 'failed', 'removing'];
const ways = {search: 'has in key or URL', prefix: 'key begins with', match: 'key matches glob', label: 'label is'};
const limit = 50;

export function shards(_, params, signal) {
  const is = {
    way: Object.keys(ways).find((w) => params.has(w)) ?? 'search',
    status: params.get('status') ?? '', state: params.get('state') ?? '', host: params.get('host') ?? '',
    after: params.get('after') ?? '',
  };
  is.words = params.get(is.way) ?? '';
  let back = []; // where the pages before began
  const selection = () => ({[is.way]: is.words, status: is.status, state: is.state, host: is.host});
  const view = new Table(signal);

  const turn = (after) => {
    is.after = after;
    history.pushState(null, '', `#/shards${query({...selection(), after})}`);
    view.load(selection(), after);
    scrollTo({top: 0});
  };
  view.onNext = (next) => {
    back.push(is.after);
    turn(next);
  };
  view.onBefore = () => turn(back.pop() ?? '');
  view.hasBefore = () => is.after !== '';

  const filter = () => {
    is.after = '';
    back = [];
    history.replaceState(null, '', `#/shards${query(selection())}`);
    view.load(selection(), '');
    chips();
  };

  let soon = 0;
  const field = h('input', {type: 'search', id: 'search', value: is.words, placeholder: 'Search', autocomplete: 'off', spellcheck: 'false', oninput: () => {
    is.words = field.value.trim();
    clearTimeout(soon);
    soon = setTimeout(filter, 250);
  }});
  signal.addEventListener('abort', () => clearTimeout(soon));
  const way = h('select', {'aria-label': 'How to search', onchange: () => {
    is.way = way.value;
    if (is.words) filter();
  }}, Object.entries(ways).map(([value, name]) => h('option', {value}, name)));
  way.value = is.way;

  const hosts = h('select', {'aria-label': 'Host', onchange: () => {
    is.host = hosts.value;
    filter();
  }});
  const fillHosts = () => {
    const names = [...new Set([...live.hosts.map((x) => f.hostOf(x.host)), is.host].filter(Boolean))].sort();
    show(hosts, h('option', {value: ''}, 'All hosts'), names.map((n) => h('option', {value: n}, n)));
    hosts.value = is.host;
    hosts.hidden = names.length === 0;
  };
  listen(signal, 'hosts', fillHosts);
  fillHosts();

  const row = h('div', {class: 'chips', role: 'group', 'aria-label': 'Status'});
  const chips = () => {
    const chosen = is.state ? `state ${is.state}` : is.status;
    const chip = (value, name, n) => h('button', {type: 'button', class: `chip ${value}`, 'data-status': value, 'aria-pressed': String(chosen === value), onclick: () => {
      is.status = value;
      is.state = '';
      filter();
    }}, name, n !== undefined && h('span', {class: 'n'}, f.short(n)));
    const focus = row.contains(document.activeElement) ? document.activeElement.dataset.status : null;
    show(row, chip('', 'All', live.stats?.total), statuses.map((s) => chip(s, f.upper(s), live.stats?.status[s] ?? 0)),
      is.state && h('button', {type: 'button', class: 'chip', 'aria-pressed': 'true', onclick: () => {
        is.state = '';
        filter();
      }}, `State: ${is.state}`, h('span', {'aria-hidden': 'true'}, ' ×'), h('span', {class: 'unseen'}, ', remove')),
      (is.status === 'failed' || is.state === 'errored') && live.may('write') && h('button', {type: 'button', class: 'small', onclick: () => ask(recoverMany(selection()))}, 'Recover these…'));
    if (focus !== null) row.querySelector(`[data-status="${focus}"]`)?.focus();
  };
  const calm = calmly(2000, chips);
  listen(signal, 'stats', calm);
  calm();
  view.load(selection(), is.after);
  return h('div', {class: 'shards'}, h('h1', null, 'Shards'),
    h('form', {class: 'filters', role: 'search', onsubmit: (e) => {
      e.preventDefault();
      clearTimeout(soon);
      filter();
    }}, h('label', {for: 'search', class: 'unseen'}, 'Search'), field, way, hosts), row, view.element);
}
shards.title = () => 'Shards';

// A Table is one page of shards.
class Table {
  onNext = null;
  onBefore = null;
  hasBefore = null;

  constructor(signal) {
    this.signal = signal;
    this.told = h('p', {class: 'told', role: 'status'});
    this.body = h('tbody');
    this.stop = h('button', {type: 'button', class: 'small', hidden: true, onclick: () => this.asking?.abort()}, 'Stop');
    this.before = h('button', {type: 'button', onclick: () => this.onBefore()}, '← Before');
    this.next = h('button', {type: 'button', onclick: () => this.onNext(this.cursor)}, 'Next →');
    this.table = h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Shards'}, h('table', {class: 'list shards'},
      h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'Status'), h('th', {scope: 'col'}, 'Key'),
        h('th', {scope: 'col', class: 'num'}, 'Blocks'), h('th', {scope: 'col', class: 'num'}, 'Size'),
        h('th', {scope: 'col'}, 'Copy'), h('th', {scope: 'col'}, 'Verified'), h('th', {scope: 'col'}, 'Changed'))), this.body));
    this.element = h('div', {class: 'card flush'}, this.table,
      h('div', {class: 'pager'}, this.told, this.stop, h('nav', {'aria-label': 'Pages'}, this.before, this.next)));
    signal.addEventListener('abort', () => this.asking?.abort());
    // What changes is shown where it stands.
    listen(signal, 'event', ({detail: e}) => {
      if (e.key && e.kind === 'transition' && this.rows?.has(e.key)) this.renew(e.key);
      else if (e.kind === 'gap' && this.asked && !this.body.contains(document.activeElement)) this.load(...this.asked);
    });
  }

  // load asks until there is a page full of shards, or there are no more.
  async load(selection, after) {
    this.asked = [selection, after];
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    const shards = [], damaged = [];
    const filtered = Object.values(selection).some((v) => v !== '');
    this.before.disabled = !this.hasBefore();
    this.next.disabled = true;
    this.cursor = after;
    this.element.setAttribute('aria-busy', 'true');
    let looked = 0, more = true;
    this.stop.hidden = true;
    const began = performance.now();
    try {
      while (more && shards.length < limit) {
        const page = await get(`shards${query({...selection, after: this.cursor, limit: limit - shards.length})}`, {signal: asking.signal});
        shards.push(...page.shards);
        damaged.push(...page.damaged ?? []);
        looked += page.looked;
        more = Boolean(page.next);
        if (more) this.cursor = page.next;
        if (more && shards.length < limit) {
          this.stop.hidden = false;
          if (page.shards.length) this.draw(shards, damaged);
          text(this.told, `Looked at ${f.count(looked)} of ${f.count(live.stats?.total ?? 0)} shards, found ${f.count(shards.length)}…`);
        }
      }
    } catch (err) {
      if (asking !== this.asking) return; // something else is asked for
      if (err.name !== 'AbortError') {
        this.done();
        show(this.body, h('tr', null, h('td', {colspan: '7', class: 'bad'}, err.message)));
        text(this.told, '');
        return;
      }
      if (this.signal.aborted) return;
    }
    if (asking !== this.asking) return;
    this.done();
    this.draw(shards, damaged);
    this.next.disabled = !more;
    const took = f.seconds((performance.now() - began) / 1000);
    this.element.title = `Looked at ${f.count(looked)} shards in ${took}`;
    text(this.told, shards.length === 0 ? 'No shards.' : `${f.plural(shards.length, 'shard')}${more ? ' on this page' : ''}${filtered ? ` of ${f.count(looked)} looked at` : ''}, in ${took}.`);
    if (shards.length === 0 && damaged.length === 0) {
      show(this.body, h('tr', null, h('td', {colspan: '7', class: 'empty'}, filtered ? 'No shard is like that.' : ['There are none yet. ', h('a', {href: '#/add'}, 'Add CARs'), '.'])));
    }
  }

  done() {
    this.stop.hidden = true;
    this.element.removeAttribute('aria-busy');
  }

  draw(shards, damaged) {
    this.rows = new Map(shards.map((s) => [s.key, row(s)]));
    show(this.body, [...this.rows.values()], damaged.map((d) => h('tr', null,
      h('td', null, h('span', {class: 'badge failed'}, 'Damaged')), h('td', {colspan: '6'}, named(d.key, 'key'), h('div', {class: 'bad small'}, d.problem.detail ?? d.problem.title)))));
  }

  async renew(key) {
    if (this.renewing?.has(key)) return;
    (this.renewing ??= new Set()).add(key);
    setTimeout(async () => {
      this.renewing.delete(key);
      const old = this.rows?.get(key);
      if (!old?.isConnected || this.signal.aborted || old.contains(document.activeElement)) return;
      try {
        const {shards} = await get(`shards${query({prefix: key, limit: 1})}`, {signal: this.signal});
        if (shards[0]?.key !== key || !old.isConnected) return;
        const fresh = row(shards[0]);
        old.replaceWith(fresh);
        this.rows.set(key, fresh);
      } catch { /* it stays as it was */ }
    }, 400);
  }
}

// row is one shard.
function row(x) {
  const local = x.local > 0 || x.pinned;
  return h('tr', {'data-row': '', class: x.status}, h('td', null, badge(x)),
    h('td', {class: 'what'}, h('a', {href: `#/shard/${encodeURIComponent(x.key)}`, class: 'key'}, named(x.key)),
      x.error ? h('div', {class: 'bad small clip', title: x.error}, named(f.bare(x.error))) : h('div', {class: 'faint small clip', title: x.mount}, named(x.mount))),
    h('td', {class: `num blocks ${x.version ? '' : 'none'}`}, x.version ? f.count(x.sections) : '–'), h('td', {class: `num ${x.version ? '' : 'none'}`, title: x.version ? f.exactly(x.bytes) : ''}, x.version ? f.bytes(x.bytes) : '–'),
    h('td', {class: !local && (x.serve === 'inplace' || !x.serve) && 'none'}, local ? [f.bytes(x.local), x.pinned && h('span', {class: 'tag'}, 'pinned'), x.last_copy && h('span', {class: 'tag warn'}, 'last')] : h('span', {class: 'faint'}, x.serve === 'inplace' || !x.serve ? '–' : x.serve)),
    h('td', {class: x.verified === 'none' && !x.faults && 'none'}, x.verified === 'none' ? h('span', {class: 'faint'}, '–') : x.verified, x.faults > 0 && h('span', {class: 'tag bad'}, f.plural(x.faults, 'fault'))),
    h('td', {class: 'faint', title: f.moment(x.changed)}, f.ago(x.changed)));
}

// badge is the status of a shard, and its state where that says more.
export function badge(x) {
  return h('span', {class: `badge ${x.status}`, title: `State: ${x.state}`}, f.upper(x.status));
}
