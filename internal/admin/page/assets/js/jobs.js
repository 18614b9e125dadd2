// Jobs: how far they have come, and how their items went.

import {get, post, lines, query} from './api.js';
import {h, show, text, named} from './dom.js';
import {live, listen, calmly} from './live.js';
import {ask} from './actions.js';
import * as f from './format.js';

// meterOf is how far something has come; a total that is not known makes it run.
export function meterOf(done, total, label) {
  const p = h('progress', {max: '1', 'aria-label': label});
  if (total > 0) p.value = Math.min(1, done / total);
  return p;
}

const states = {running: 'indexing', done: 'ready', failed: 'failed', cancelled: 'removing'};

// share is how far a job has come, from 0 to 1.
function share(j) {
  if (j.state !== 'running') return j.state === 'done' ? [1, 1] : [j.done + j.failed, j.items];
  if (j.bytes_total > 0 && j.bytes > 0) return [j.bytes, j.bytes_total];
  return j.items > 0 ? [j.done + j.failed, j.items] : [0, 0];
}

// collected is what a tidying has done.
function collected(j) {
  const s = j.summary;
  if (!s) return j.state === 'running' ? 'Looking…' : '';
  return [h('b', null, f.count(s.files)), ` ${s.files === 1 ? 'file' : 'files'} removed, ${f.bytes(s.bytes)} given back`,
    s.left > 0 && `, ${f.count(s.left)} go later`, s.foreign?.length > 0 && `; ${f.plural(s.foreign.length, 'path')} in the store’s folder left alone, which the store did not make`, '.'];
}

// summary is one job in a card that is kept up to date.
export function summary(signal, job) {
  const state = h('span', {class: 'badge'});
  const bar = h('progress', {max: '1', 'aria-label': `Job ${job.id}`});
  const figures = h('p', {class: 'figures-line', role: 'status'});
  const times = h('p', {class: 'faint small'});
  const problem = h('p', {class: 'bad wrap'});
  const cancel = h('button', {type: 'button', class: 'small', onclick: () => ask({name: 'Cancel the job', about: 'It ends. What it has done stays, and the same job goes on from there when it is begun again.',
    command: () => `dagstore jobs cancel ${job.id}`, run: () => post(`jobs/${job.id}/cancel`)})}, 'Cancel…');
  const element = h('article', {class: 'card job', 'data-row': '', 'aria-label': `Job ${job.id}`},
    h('header', null, state, h('h2', null, h('a', {href: `#/job/${job.id}`}, named(job.what || job.kind))), cancel),
    bar, figures, times, problem);
  const draw = (j) => {
    job = j;
    const running = j.state === 'running';
    const partly = j.state === 'done' && j.failed > 0;
    text(state, partly ? 'Done, some failed' : f.upper(j.state));
    state.className = `badge ${partly ? 'removing' : states[j.state] ?? ''}`;
    const [done, all] = share(j);
    if (all > 0) bar.value = Math.min(1, done / all);
    else bar.removeAttribute('value');
    bar.hidden = !running;
    cancel.hidden = !running || !live.may('write');
    const took = ((j.ended ? Date.parse(j.ended) : Date.now()) - Date.parse(j.started)) / 1000;
    const rate = running && took > 1 && j.bytes > 0 ? `, ${f.bytes(j.bytes / took)} / s` : '';
    if (j.kind === 'gc') show(figures, collected(j));
    else show(figures, h('b', null, f.count(j.done)), j.items > 0 ? ` of ${f.count(j.items)} done` : ' done', j.failed > 0 && [', ', h('b', {class: 'bad'}, `${f.count(j.failed)} failed`)],
      j.bytes > 0 && `, ${f.bytes(j.bytes)}${running && j.bytes_total > 0 ? ` of ${f.bytes(j.bytes_total)}` : ''} read${rate}`);
    text(times, [`Job ${j.id}, by ${j.who}`, running ? `began ${f.ago(j.started)}` : `took ${f.seconds(took)}`,
      running && j.eta ? `ends ${f.ago(j.eta)}` : !running ? `ended ${f.ago(j.ended)}` : ''].filter(Boolean).join(' · '));
    text(problem, j.problem && j.state !== 'cancelled' ? j.problem.detail ?? j.problem.title : '');
    problem.hidden = problem.textContent === '';
  };
  draw(job);
  listen(signal, 'event', ({detail: e}) => {
    if (e.kind === 'job' && e.job.id === job.id) draw(e.job);
    else if (e.kind === 'gap') again();
  });
  listen(signal, 'connection', () => live.connected && again());
  const again = calmly(1000, async () => {
    try {
      draw(await get(`jobs/${job.id}`, {signal}));
    } catch { /* as it was */ }
  });
  const tick = setInterval(() => draw(job), 1000);
  signal.addEventListener('abort', () => clearInterval(tick));
  return element;
}

export function jobs(_, __, signal) {
  const list = h('div', {class: 'stack'}, h('p', {class: 'waiting'}, 'Asking…'));
  const known = new Set();
  const load = calmly(1000, async () => {
    let all;
    try {
      all = (await get('jobs', {signal})).jobs;
    } catch (err) {
      if (err.name !== 'AbortError') show(list, h('p', {class: 'note bad'}, err.message));
      return;
    }
    known.clear();
    for (const j of all) known.add(j.id);
    if (all.length) show(list, all.map((j) => summary(signal, j)));
    else show(list, h('p', {class: 'empty card'}, 'No job has been begun since this process started.'));
  });
  listen(signal, 'event', ({detail: e}) => {
    if (e.kind === 'job' && !known.has(e.job.id) || e.kind === 'gap') load();
  });
  load();
  const begin = (name, about, job, command) => h('button', {type: 'button', disabled: !live.may('write'), onclick: () => ask({name, about, command: command && (() => command),
    run: () => post('jobs', job), then: (made) => { location.hash = `#/job/${made.id}`; }})}, `${name}…`);
  return h('div', {class: 'jobs'}, h('div', {class: 'headline'}, h('h1', null, 'Jobs'), h('div', {class: 'buttons'},
    h('a', {class: 'button', href: '#/add'}, 'Add CARs'),
    begin('Verify all', 'Every CAR is read from end to end, and every block of it is hashed.', {kind: 'verify', verify: {}}, 'dagstore jobs verify'),
    begin('Tidy up', 'Files that belong to no shard are removed. What the store did not make is left alone, and reported.', {kind: 'gc'}, 'dagstore gc'))), list);
}
jobs.title = () => 'Jobs';

// job is one job, with how its items went.
export function job(id, _, signal) {
  const top = h('div', null, h('p', {class: 'waiting'}, 'Asking…'));
  const bottom = h('div');
  (async () => {
    try {
      show(top, summary(signal, await get(`jobs/${encodeURIComponent(id)}`, {signal})));
      show(bottom, results(signal, id));
    } catch (err) {
      if (err.name !== 'AbortError') show(top, h('p', {class: 'note bad'}, err.status === 404 ? 'There is no such job. Jobs are those of one process: a restart forgets them.' : err.message));
    }
  })();
  return h('div', {class: 'jobs'}, h('nav', {class: 'crumbs', 'aria-label': 'Way back'}, h('a', {href: '#/jobs'}, '← Jobs')), h('h1', null, `Job ${id}`), top, bottom);
}
job.title = (id) => `Job ${id}`;

const most = 200;

// results shows how the items of a job went, while they come: those that failed,
// and the last ones of the others.
export function results(signal, id) {
  const failed = h('tbody'), fine = h('tbody');
  const told = h('p', {class: 'told'}, 'No results yet.');
  const table = h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Results', hidden: true}, h('table', {class: 'list'},
    h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'Result'), h('th', {scope: 'col'}, 'What'), h('th', {scope: 'col', class: 'num'}, 'Size'))), failed, fine));
  let after = 0, bad = 0, good = 0;
  const tell = () => {
    table.hidden = after === 0;
    text(told, `${f.plural(after, 'result')}: ${f.count(bad)} failed${bad > most ? `, of which the first ${most} are shown` : ''}${good > most ? `; the last ${most} of the others are shown` : ''}.`);
  };
  const read = async () => {
    while (!signal.aborted) {
      try {
        for await (const batch of lines(`jobs/${encodeURIComponent(id)}/results${query({after, follow: true})}`, {signal})) {
          for (const r of batch) {
            if (r.job) { // it has ended: this line says how
              tell();
              return;
            }
            after = r.seq;
            const line = result(r);
            if (r.problem) {
              if (++bad <= most) failed.append(line);
            } else {
              good++;
              fine.prepend(line);
              if (fine.children.length > most) fine.lastChild.remove();
            }
          }
          tell();
        }
        throw new Error('broken off');
      } catch (err) {
        if (err.name === 'AbortError' || err.status >= 400) return;
        await new Promise((done) => setTimeout(done, 2000)); // the connection is mended elsewhere
      }
    }
  };
  read();
  return h('div', {class: 'card flush'}, table, told);
}

function result(r) {
  const what = r.key ? h('a', {href: `#/shard/${encodeURIComponent(r.key)}`, class: 'key'}, named(r.key)) : named(r.name);
  return h('tr', {'data-row': ''}, h('td', null, h('span', {class: `badge ${r.problem ? 'failed' : r.plan === 'unchanged' ? 'lazy' : 'ready'}`}, r.problem ? 'Failed' : r.plan ? f.upper(r.plan) : 'Done')),
    h('td', {class: 'what'}, what, r.problem && h('div', {class: 'bad small wrap'}, named(f.bare(r.problem.detail ?? r.problem.title))), r.notes?.map((n) => h('div', {class: 'faint small'}, named(n))),
      r.faults > 0 && h('div', {class: 'bad small'}, `${f.plural(r.faults, 'bad block')}`)),
    h('td', {class: 'num'}, r.size > 0 ? f.bytes(r.size) : '–'));
}
