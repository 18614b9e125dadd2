// A value of the IPLD data model, as dag-json has it.

import {h, named} from './dom.js';
import * as f from './format.js';

const open = 2; // so deep it is open at first
const most = 500; // members that are shown of one

// tree shows a value; address says where a link leads.
export function tree(value, address) {
  return h('div', {class: 'tree'}, node(value, address, 0));
}

function node(value, address, depth) {
  if (value === null || typeof value !== 'object') return h('span', {class: `value ${value === null ? 'null' : typeof value}`}, typeof value === 'string' ? ['“', named(value), '”'] : String(value));
  const slash = value['/'];
  if (typeof slash === 'string' && Object.keys(value).length === 1) return h('a', {href: address(slash), class: 'cid'}, f.middle(slash, 40));
  if (typeof slash?.bytes === 'string' && Object.keys(value).length === 1) return h('span', {class: 'value bytes'}, `${f.plural(Math.floor(slash.bytes.length * 3 / 4), 'byte')}: ${f.middle(slash.bytes, 48)}`);
  const list = Array.isArray(value);
  const members = list ? value.map((v, i) => [String(i), v]) : Object.entries(value);
  if (members.length === 0) return h('span', {class: 'value null'}, list ? 'empty list' : 'empty map');
  const body = h('ul');
  const fill = () => {
    if (body.firstChild) return;
    for (const [name, v] of members.slice(0, most)) body.append(h('li', null, h('span', {class: 'member'}, named(name)), ' ', node(v, address, depth + 1)));
    if (members.length > most) body.append(h('li', {class: 'faint'}, `and ${f.count(members.length - most)} more`));
  };
  const details = h('details', {ontoggle: fill}, h('summary', null, list ? f.plural(members.length, 'item') : f.plural(members.length, 'member')), body);
  if (depth < open) {
    details.open = true;
    fill();
  }
  return details;
}
