// The keys that do something, and the list of them.

import {h} from './dom.js';

// help listens to the keyboard. Single keys can be turned off, since who speaks
// to a computer presses many.
export function help(places, go) {
  const off = () => {
    try {
      return localStorage.getItem('keys') === 'off';
    } catch {
      return false;
    }
  };
  const rows = [['/', 'to the search field of a view'], ['?', 'this list'], ['↑ ↓', 'from row to row'], ['Esc', 'close a dialog'],
    ...places.map((p) => [`g ${p.key}`, `to ${p.name}`])];
  const keys = h('input', {type: 'checkbox', id: 'keys', onchange: () => {
    try {
      localStorage.setItem('keys', keys.checked ? '' : 'off');
    } catch { /* for this page alone */ }
  }});
  const dialog = h('dialog', {class: 'dialog', 'aria-labelledby': 'help-title'},
    h('h2', {id: 'help-title'}, 'Keys'),
    h('dl', {class: 'keys'}, rows.map(([key, what]) => [h('dt', null, key.split(' ').map((k) => h('kbd', null, k))), h('dd', null, what)])),
    h('label', {class: 'check'}, keys, 'Single keys do something'),
    h('div', {class: 'buttons'}, h('button', {type: 'button', class: 'primary', onclick: () => dialog.close()}, 'Close')));
  document.body.append(dialog);
  let waiting = 0; // since "g"
  addEventListener('keydown', (e) => {
    const at = e.target;
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      rove(e, at);
      return;
    }
    if (at.matches?.('input, textarea, select, [contenteditable]') || off()) return;
    if (Date.now() - waiting < 1500) {
      waiting = 0;
      const place = places.find((p) => p.key === e.key);
      if (place) {
        e.preventDefault();
        go(`#/${place.path}`);
      }
    } else if (e.key === 'g') {
      waiting = Date.now();
    } else if (e.key === '?') {
      e.preventDefault();
      keys.checked = !off();
      dialog.showModal();
    } else if (e.key === '/') {
      const field = document.querySelector('main [type="search"]');
      if (field) {
        e.preventDefault();
        field.focus();
        field.select();
      }
    }
  });
}

// rove goes from the link of one row to that of the next.
function rove(e, at) {
  const row = at.closest?.('[data-row]');
  if (!row || at.matches('input, textarea, select')) return;
  const rows = [...row.parentElement.querySelectorAll('[data-row]')];
  const next = rows[rows.indexOf(row) + (e.key === 'ArrowDown' ? 1 : -1)];
  if (next) {
    e.preventDefault();
    next.querySelector('a, button').focus();
  }
}
