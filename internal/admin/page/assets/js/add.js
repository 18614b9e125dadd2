// Adding sources, and what is watched.

import {get, post, send, query} from './api.js';
import {h, show, text, named, copyable, fresh} from './dom.js';
import {live, listen} from './live.js';
import {summary, results} from './jobs.js';
import * as f from './format.js';

export function add(_, __, signal) {
  const progress = h('div', {class: 'stack', 'aria-live': 'polite'});
  const wrong = h('p', {class: 'note bad', role: 'alert', hidden: true});
  const line = h('div');
  const may = live.may('write');
  const is = {};
  let file = null;

  const sources = h('textarea', {id: 'sources', rows: '4', spellcheck: 'false', autocapitalize: 'off', placeholder: '/srv/cars/\nhttps://example.org/photos.car\ns3://bucket/prefix/', oninput: () => write()});
  const chosen = h('span', {class: 'faint'}, 'none');
  const list = h('input', {type: 'file', id: 'list', accept: '.ndjson,.jsonl,.txt', onchange: () => {
    file = list.files[0] ?? null;
    text(chosen, file ? `${file.name}, ${f.bytes(file.size)}` : 'none');
    write();
  }});
  const field = (name, label, input, hint) => {
    input.id = fresh(name);
    input.addEventListener('input', () => {
      is[name] = input.type === 'checkbox' ? input.checked : input.value.trim();
      write();
    });
    if (input.type === 'checkbox') return h('label', {class: 'check', title: hint}, input, label);
    return h('div', {class: 'field'}, h('label', {for: input.id}, label), input, hint && h('p', {class: 'faint small'}, hint));
  };
  const word = (placeholder) => h('input', {type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder});
  const box = () => h('input', {type: 'checkbox'});
  const choice = (...options) => h('select', null, options.map(([value, name]) => h('option', {value}, name)));
  const options = h('details', {class: 'options'}, h('summary', null, 'How they are added'), h('div', {class: 'fields'},
    field('prefix', 'Before every key', word('photos/')),
    field('key', 'Key, of a single CAR', word('photos-2026')),
    field('include', 'In folders, files that match', word('*.car')),
    field('serve', 'CARs that lie elsewhere are read', choice(['', 'as suits them'], ['inplace', 'in place'], ['sparse', 'in place, ranges kept here'], ['copy', 'as copies'])),
    field('index', 'An index that came with a CAR is', choice(['', 'used as suits it'], ['scan', 'ignored: the CAR is read'], ['hop', 'ignored: the heads of sections are read'], ['check', 'held against the CAR'], ['sample', 'taken after a sample'], ['adopt', 'believed, and confirmed later'])),
    h('div', {class: 'checks'}, field('lazy', 'Index each when it is first used', box()), field('verify', 'Hash every block', box()),
      field('dry_run', 'Only say what would be done', box()))));

  const given = () => sources.value.split('\n').map((s) => s.trim()).filter(Boolean);
  const job = () => {
    const out = {sources: given()};
    for (const name of ['prefix', 'key', 'serve', 'index', 'lazy', 'verify', 'dry_run']) if (is[name]) out[name] = is[name];
    if (is.include) out.include = is.include.split(/\s+/);
    return out;
  };
  const write = () => {
    const j = job();
    const flags = ['prefix', 'key', 'serve', 'index'].filter((n) => j[n]).map((n) => `--${n} ${f.quoted(j[n])}`)
      .concat((j.include ?? []).map((g) => `--include ${f.quoted(g)}`), ['lazy', 'verify', 'dry_run'].filter((n) => j[n]).map((n) => `--${n.replace('_', '-')}`));
    const from = file ? [`--from ${f.quoted(file.name)}`] : [];
    show(line, h('p', {class: 'faint small'}, 'The same on the command line:'),
      copyable(['dagstore add', ...flags, ...from, ...(j.sources.length ? j.sources : file ? [] : ['SOURCE']).map(f.quoted)].join(' '), 'the command that does the same'));
    start.disabled = !may || j.sources.length === 0 && !file;
  };
  const start = h('button', {type: 'submit', class: 'primary'}, 'Add');

  const begin = async () => {
    const j = job();
    const made = [];
    if (j.sources.length) made.push(await post('jobs', {kind: 'add', add: j}));
    if (file) {
      made.push(await send(`import${query({prefix: j.prefix, lazy: j.lazy, verify: j.verify, serve: j.serve, index: j.index})}`, file));
      list.value = '';
      file = null;
      text(chosen, 'none');
    }
    for (const one of made) progress.prepend(h('div', {class: 'stack'}, summary(signal, one), results(signal, one.id)));
    sources.value = '';
    write();
  };
  const form = h('form', {class: 'card adding', onsubmit: async (e) => {
    e.preventDefault();
    start.disabled = true;
    wrong.hidden = true;
    try {
      await begin();
    } catch (err) {
      text(wrong, err.message);
      wrong.hidden = false;
    }
    write();
  }},
  h('div', {class: 'field'}, h('label', {for: 'sources'}, 'Sources, one a line'), sources,
    h('p', {class: 'faint small'}, 'Paths on the machine of the store, URLs of CARs, prefixes that end in “/”, and lists (.ndjson, .jsonl) elsewhere. Their CARs stay where they lie.')),
  h('div', {class: 'field'}, h('label', {for: 'list'}, 'A list on this computer'), h('div', {class: 'row'}, list, h('span', {class: 'unseen', role: 'status'}, chosen)),
    h('p', {class: 'faint small'}, 'One URL or JSON object a line, as “dagstore export” writes it.')),
  options, line, wrong,
  !may && h('p', {class: 'note'}, 'Your session may only look.'),
  may && !live.may('sources:private') && h('p', {class: 'note'}, 'Your session may not name paths of the machine of the store, or servers in its network.'),
  h('div', {class: 'buttons'}, start));
  write();
  return h('div', {class: 'add'}, h('h1', null, 'Add CARs'), form, progress, watched(signal));
}
add.title = () => 'Add CARs';

// watched are the places that are looked at for new CARs, where there are any.
function watched(signal) {
  const body = h('div', {class: 'stack'});
  const section = h('section', {'aria-labelledby': 'watched-title', hidden: true}, h('h2', {id: 'watched-title'}, 'Watched sources'), body);
  const load = async () => {
    if (document.hidden) return;
    try {
      const {places = []} = await get('watched', {signal});
      section.hidden = places.length === 0;
      show(body, places.map(place));
    } catch (err) {
      if (err.status === 404) clearInterval(timer);
    }
  };
  const timer = setInterval(load, 5000);
  signal.addEventListener('abort', () => clearInterval(timer));
  listen(signal, 'connection', () => live.connected && load());
  load();
  return section;
}

function place(p) {
  const item = (name, n, cls) => n > 0 && h('span', {class: `tag ${cls ?? ''}`}, `${f.count(n)} ${name}`);
  return h('article', {class: 'card job'}, h('header', null, h('span', {class: `badge ${p.error ? 'failed' : p.looking ? 'indexing' : 'ready'}`}, p.error ? 'Trouble' : p.looking ? 'Looking' : 'Watched'),
    h('h3', null, named(p.place))),
  h('p', null, item('seen', p.seen), item('resting', p.waiting), item('being added', p.taking), item('failed', p.failed, 'bad'), item('changed', p.changed, 'warn'), item('vanished', p.vanished, 'warn'),
    item('added since the start', p.added), item('replaced since the start', p.replaced), item('requests since the start', p.requests)),
  h('p', {class: 'faint small'}, p.last ? `Looked at ${f.ago(p.last)}` : 'Not looked at yet', p.next && `, again ${f.ago(p.next)}`, '.'),
  p.error && h('p', {class: 'bad wrap'}, named(p.error)));
}
