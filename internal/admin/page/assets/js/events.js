// How an event is told.

import {h, named} from './dom.js';
import * as f from './format.js';

const shardLink = (key) => h('a', {href: `#/shard/${encodeURIComponent(key)}`}, named(key));

// what says in words what happened; short words for a list.
function what(e, links) {
  const subject = links && e.key ? [shardLink(e.key), ' '] : [];
  switch (e.kind) {
    case 'transition':
      return [subject, e.from === 'gone' ? ['is new: ', stateOf(e.to)] : e.to === 'gone' ? 'is gone' : [stateOf(e.from), ' → ', stateOf(e.to)], because(e)];
    case 'work': {
      const op = e.progress?.op || 'work';
      if (e.phase === 'began') return [subject, `${op} began`];
      return [subject, `${op} ${e.error ? 'failed' : 'done'}`, e.progress?.done > 0 && `, ${f.bytes(e.progress.done)}`, because(e)];
    }
    case 'evicted':
      return [subject, `copy evicted, ${f.bytes(e.bytes)} given back`];
    case 'fault':
      return [subject, `damage: ${e.fault.kind} at byte ${f.count(e.fault.offset)}`, e.fault.detail && [': ', named(e.fault.detail)]];
    case 'host':
      return [h('span', null, named(e.host.host)), e.host.down ? ' is down' : ' is back', e.host.error && [': ', named(e.host.error)]];
    case 'trouble':
      return ['trouble: ', named(e.error)];
    case 'job':
      return [h('a', {href: `#/job/${e.job.id}`}, `job ${e.job.id}`), ` ${e.job.state}`];
    case 'gap':
      return e.missed > 0 ? `${f.plural(e.missed, 'event')} missing here` : 'an unknown number of events is missing here';
    default:
      return [subject, e.kind];
  }
}

const stateOf = (state) => h('span', {class: `word ${state}`}, state);
const because = (e) => e.error && h('span', {class: 'bad'}, ': ', named(f.bare(e.error)));

function level(e) {
  if (e.kind === 'gap') return 'gap';
  if (e.error || e.kind === 'fault' || e.kind === 'trouble' || e.host?.down) return 'bad';
  return e.kind;
}

// eventLine is one event in a list.
export function eventLine(e, links) {
  return h('li', {class: `event ${level(e)}`}, h('time', {datetime: e.at, title: f.moment(e.at)}, f.clock(e.at)), h('span', null, what(e, links)));
}
