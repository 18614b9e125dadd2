// What can be done to shards: each is asked about first, and shows the command
// that does the same.

import {post, remove, shardPath} from './api.js';
import {h, show, text, toast, copyable, named, fresh} from './dom.js';
import {live} from './live.js';
import {quoted} from './format.js';

const command = (...words) => ['dagstore', ...words.filter(Boolean)].join(' ');

// own is a word of the command line that is no flag, whatever it begins with.
const own = (key) => key.startsWith('-') ? `-- ${quoted(key)}` : quoted(key);

// actions are those of one shard. Of each: name, what it says before, fields to
// fill in, the command, and what it does.
export function actions(x) {
  const key = x.key;
  const list = [];
  const add = (one) => list.push({key, ...one});
  if (x.status === 'lazy') {
    add({name: 'Index now', about: 'The CAR is read and indexed now, and not when it is first used.',
      command: () => command('add', `--key=${quoted(key)}`, own(x.mount)), run: () => post(shardPath(key, '/index'))});
  }
  add({name: 'Recover', primary: x.status === 'failed', about: 'The CAR is read and indexed again. A shard that is well stays as it is.',
    command: () => command('recover', own(key)), run: () => post(shardPath(key, '/recover', {wait: false})), done: 'Recovering'});
  add({name: 'Verify', about: 'The CAR is read from end to end, and every block of it is hashed. It is a job, which you can watch.',
    command: () => command('jobs', 'verify', '--key', own(key)), run: () => post('jobs', {kind: 'verify', verify: {keys: [key]}}), then: (job) => { location.hash = `#/job/${job.id}`; }});
  if (x.pinned) {
    add({name: 'Unpin', about: 'The copy on this machine may make room for others again.', command: () => command('unpin', own(key)), run: () => post(shardPath(key, '/unpin'))});
  } else {
    add({name: 'Pin', about: 'The copy on this machine never makes room for others.', command: () => command('pin', own(key)), run: () => post(shardPath(key, '/pin'))});
  }
  add({name: 'Evict', about: 'The copy on this machine is removed. The shard stays, and is read at its source.', disabled: !(x.local > 0) && 'there is no copy',
    fields: [{name: 'last', label: 'Also if it may be the last copy', kind: 'checkbox', when: Boolean(x.last_copy)}],
    command: (v) => command('evict', v.last && '--last-copy', own(key)), run: (v) => post(shardPath(key, '/evict'), {last_copy: Boolean(v.last)})});
  add({name: 'Remount', about: 'Says where the same CAR lies now. It is compared before anything changes; index, pins and copies stay.',
    fields: [{name: 'mount', label: 'URL of the CAR', kind: 'url', value: x.mount, needed: true},
      {name: 'check', label: 'How much is compared', kind: 'select', options: [['sample', 'a sample'], ['full', 'all of it'], ['none', 'nothing']]}],
    command: (v) => command('remount', v.check !== 'sample' && `--check ${v.check}`, own(key), quoted(v.mount || 'URL')),
    run: (v) => post(shardPath(key, '/remount'), {mount: v.mount, check: v.check})});
  add({name: 'Replace', about: 'Indexes a new revision of the CAR beside the old one, and takes its place in one step.',
    fields: [{name: 'mount', label: 'URL of the new CAR', kind: 'url', value: x.mount, needed: true}],
    command: (v) => command('replace', own(key), quoted(v.mount || 'URL')), run: (v) => post(shardPath(key, '/replace'), {mount: v.mount, keep: true})});
  add({name: 'Remove', danger: true, about: 'The shard, its index and its copy go. Its source is never touched.',
    fields: [{name: 'held', label: 'If somebody holds it', kind: 'select', options: [['refuse', 'do not remove it'], ['wait', 'wait until they let go'], ['force', 'end their reads']]}],
    command: (v) => command('rm', v.held !== 'refuse' && `--${v.held}`, own(key)), run: (v) => remove(shardPath(key, '', v.held === 'refuse' ? {} : {held: v.held})),
    then: () => { location.hash = '#/shards'; }});
  return list;
}

// recoverMany tries all failed shards again that are selected.
export function recoverMany(selection) {
  const job = {prefix: selection.prefix ?? '', match: selection.match ?? '', host: selection.host ?? ''};
  const narrow = job.prefix || job.match || job.host;
  return {name: 'Recover failed shards', about: ['The failed shards ', narrow ? 'that match are' : 'are all', ' read and indexed again. It is a job, which you can watch.'],
    more: selection.search || selection.label ? 'A search in URLs or labels does not narrow it: use a glob or a prefix for that.' : '',
    command: () => command('recover', job.match ? `--match ${quoted(job.match)}` : job.prefix ? `--match ${quoted(`${job.prefix}*`)}` : !job.host && "--match '*'", job.host && `--host ${quoted(job.host)}`),
    run: () => post('jobs', {kind: 'recover', recover: job}), then: (made) => { location.hash = `#/job/${made.id}`; }};
}

// ask asks before it does something.
export function ask(action) {
  const opener = document.activeElement;
  const title = fresh('title');
  const values = {};
  const line = h('div');
  const wrong = h('p', {class: 'note bad', role: 'alert', hidden: true});
  const write = () => {
    if (action.command) show(line, h('p', {class: 'faint small'}, 'The same on the command line:'), copyable(action.command(values), 'the command that does the same'));
  };
  const field = (d) => {
    if (d.when === false) return null;
    const id = fresh('field');
    const set = (value) => {
      values[d.name] = value;
      write();
    };
    let input;
    if (d.kind === 'select') {
      input = h('select', {id, onchange: () => set(input.value)}, d.options.map(([value, name]) => h('option', {value}, name)));
      values[d.name] = d.options[0][0];
    } else if (d.kind === 'checkbox') {
      input = h('input', {id, type: 'checkbox', onchange: () => set(input.checked)});
      return h('label', {class: 'check'}, input, d.label);
    } else {
      input = h('input', {id, type: 'text', value: d.value ?? '', required: d.needed, autocomplete: 'off', spellcheck: 'false', oninput: () => set(input.value)});
      values[d.name] = d.value ?? '';
    }
    return h('div', {class: 'field'}, h('label', {for: id}, d.label), input);
  };
  const fields = (action.fields ?? []).map(field);
  const sure = h('button', {type: 'submit', class: action.danger ? 'primary danger' : 'primary'}, action.name);
  const dialog = h('dialog', {class: 'dialog', 'aria-labelledby': title},
    h('form', {onsubmit: async (e) => {
      e.preventDefault();
      sure.disabled = true;
      text(sure, `${action.name}…`);
      wrong.hidden = true;
      try {
        const made = await action.run(values);
        dialog.close();
        toast(action.done ? `${action.done}: ${action.key ?? ''}` : `${action.name}: done`);
        action.then?.(made);
        live.refresh();
      } catch (err) {
        text(wrong, err.message);
        wrong.hidden = false;
        sure.disabled = false;
        text(sure, action.name);
      }
    }},
    h('h2', {id: title}, action.name, action.key !== undefined && [' ', named(action.key, 'key')]),
    h('p', null, action.about), action.more && h('p', {class: 'note'}, action.more), fields, line, wrong,
    h('div', {class: 'buttons'}, h('button', {type: 'button', onclick: () => dialog.close()}, 'Cancel'), sure)));
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (opener?.isConnected) opener.focus();
  });
  write();
  document.body.append(dialog);
  dialog.showModal();
  if (action.danger) dialog.querySelector('.buttons button').focus();
}
