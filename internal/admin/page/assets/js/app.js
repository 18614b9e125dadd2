// The frame: signing in, the views, light and dark, the keyboard.

import {get, post, remove, onSignedOut} from './api.js';
import {h, show, text, toast, copyable} from './dom.js';
import {live} from './live.js';
import {board} from './board.js';
import {shards} from './shards.js';
import {shard} from './shard.js';
import {add} from './add.js';
import {jobs, job} from './jobs.js';
import {explore} from './explore.js';
import {help} from './help.js';

const main = document.getElementById('main');

// The views by the first part of what stands behind "#/".
const routes = {'': board, shards, shard, add, jobs, job, explore};
export const places = [
  {path: '', name: 'Board', key: 'b'},
  {path: 'shards', name: 'Shards', key: 's', also: ['shard']},
  {path: 'add', name: 'Add', key: 'a'},
  {path: 'jobs', name: 'Jobs', key: 'j', also: ['job']},
  {path: 'explore', name: 'Explore', key: 'e'},
];

let leave = null; // ends what the view has begun
let signed = false;

// parse reads the address: its view, the rest of its path, its parameters.
function parse() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
  const at = path.indexOf('/');
  const name = at < 0 ? path : path.slice(0, at);
  let rest = at < 0 ? '' : path.slice(at + 1);
  try {
    rest = decodeURIComponent(rest);
  } catch { /* as it is */ }
  return {name, rest, params: new URLSearchParams(query)};
}

let shown = '';

function render() {
  if (!signed) return;
  const {name, rest, params} = parse();
  const view = routes[name] ?? board;
  leave?.abort();
  leave = new AbortController();
  for (const a of document.querySelectorAll('#views a')) {
    const place = places.find((p) => p.path === a.dataset.view);
    const here = place.path === name || place.also?.includes(name);
    if (here) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  const title = view.title?.(rest) ?? '';
  document.title = title ? `${title} · dagstore` : 'dagstore';
  const elements = view(rest, params, leave.signal);
  show(main, elements);
  main.dataset.view = name || 'board';
  const here = `${name}/${rest}`;
  if (shown && shown !== here) { // a screen reader begins at the new view
    main.focus({preventScroll: true});
    scrollTo(0, 0);
  }
  shown = here;
}

// go shows another view.
export function go(hash) { location.hash = hash; }

function nav() {
  const views = document.getElementById('views');
  show(views, places.map((p) => h('a', {href: `#/${p.path}`, 'data-view': p.path}, p.name)));
  views.hidden = false;
  document.getElementById('sign-out').hidden = false;
}

// signIn says how to come in.
function signIn(why) {
  signed = false;
  live.end();
  leave?.abort();
  document.getElementById('views').hidden = true;
  document.getElementById('sign-out').hidden = true;
  text(document.getElementById('link-state'), '');
  document.getElementById('banner').hidden = true;
  document.title = 'Sign in · dagstore';
  main.dataset.view = 'sign-in';
  const field = h('input', {type: 'text', id: 'code', autocomplete: 'off', spellcheck: 'false', placeholder: 'http://…/#code=…'});
  show(main, h('section', {class: 'sign-in card', 'aria-labelledby': 'sign-in-title'},
    h('h1', {id: 'sign-in-title'}, 'Sign in'),
    why && h('p', {class: 'note bad', role: 'alert'}, why),
    h('p', null, 'This page shows and changes a store, so it wants to know that you may. On the machine of the store, as the user who runs it:'),
    copyable('dagstore ui', 'the command that signs in'),
    h('p', null, 'That prints a link, which is good once, for five minutes. Open it in this browser, or paste it here:'),
    h('form', {class: 'row', onsubmit: (e) => {
      e.preventDefault();
      const code = /(?:#code=)?([^=#\s]+)\s*$/.exec(field.value)?.[1];
      if (code) exchange(code);
    }}, h('label', {for: 'code', class: 'unseen'}, 'The link'), field, h('button', {type: 'submit', class: 'primary'}, 'Sign in')),
    h('p', {class: 'faint'}, 'The browser keeps a cookie for twelve hours, or until you sign out.')));
}

async function exchange(code) {
  try {
    await post('session', {code}, {quiet: true});
  } catch (err) {
    signIn(err.status === 401 ? 'This link was used already, or is too old. Ask for another one.' : err.message);
    return;
  }
  start();
}

async function start() {
  try {
    await get('session', {quiet: true});
    live.store = await get('store', {quiet: true});
  } catch (err) {
    if (err.status === 401 || err.status === 403) signIn();
    else unreachable(err);
    return;
  }
  signed = true;
  nav();
  live.begin();
  render();
}

function unreachable(err) {
  show(main, h('section', {class: 'sign-in card'}, h('h1', null, 'No answer'), h('p', null, err.message),
    h('button', {type: 'button', class: 'primary', onclick: start}, 'Try again')));
}

// The state of the connection, and when it is tried again.
let tick = 0;
let wasLost = false;
live.addEventListener('connection', () => {
  clearInterval(tick);
  const state = document.getElementById('link-state');
  const banner = document.getElementById('banner');
  state.className = live.connected ? 'link-state live' : 'link-state lost';
  text(state, live.connected ? 'Live' : 'Not connected');
  if (live.connected) {
    banner.hidden = true;
    if (wasLost) toast('Connected again');
    wasLost = false;
    return;
  }
  if (!live.stats) return; // it has not begun yet
  wasLost = true;
  const left = h('span', {'aria-live': 'off'});
  const say = () => text(left, ` Trying again in ${Math.max(0, Math.ceil((live.retryAt - Date.now()) / 1000))} s.`);
  show(banner, h('span', null, 'The connection to the store is lost; what you see is not new.'), left,
    h('button', {type: 'button', class: 'small', onclick: () => live.again()}, 'Try now'));
  banner.hidden = false;
  say();
  tick = setInterval(say, 500);
});

// Light and dark: as the system has it, or as was chosen.
const themes = {'': ['Theme: system', '◐'], light: ['Theme: light', '○'], dark: ['Theme: dark', '●']};
const button = document.getElementById('theme');
function theme(next) {
  const names = Object.keys(themes);
  const root = document.documentElement;
  let now = root.dataset.theme ?? '';
  if (next) {
    now = names[(names.indexOf(now) + 1) % names.length];
    if (now) root.dataset.theme = now;
    else delete root.dataset.theme;
    try {
      localStorage.setItem('theme', now);
    } catch { /* no storage: for this page alone */ }
  }
  show(button, h('span', {'aria-hidden': 'true'}, themes[now][1]), h('span', {class: 'unseen'}, themes[now][0]));
  button.title = themes[now][0];
  dispatchEvent(new Event('theme'));
}
button.addEventListener('click', () => theme(true));
theme(false);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => dispatchEvent(new Event('theme')));

document.getElementById('sign-out').addEventListener('click', async () => {
  try {
    await remove('session');
  } catch { /* it has ended already */ }
  signIn();
});
document.querySelector('.skip').addEventListener('click', (e) => {
  e.preventDefault();
  main.focus();
});
onSignedOut(() => {
  if (signed) signIn('The session has ended.');
});
help(places, go);

const code = /^#code=(.+)$/.exec(location.hash)?.[1];
addEventListener('hashchange', () => {
  const fresh = /^#code=(.+)$/.exec(location.hash)?.[1];
  if (fresh) {
    history.replaceState(null, '', '/');
    exchange(fresh);
  } else {
    render();
  }
});
if (code) {
  history.replaceState(null, '', '/'); // it stands in no history
  exchange(code);
} else {
  start();
}
