// Small plots of the last minutes, by uPlot.

import {h, text} from './dom.js';

const {uPlot} = globalThis;

// How far back it goes, in seconds, and what is written below it.
const spans = [[120, [90, 60, 30], (s) => `−${s} s`], [300, [240, 180, 120, 60], (s) => `−${s / 60} min`], [900, [720, 480, 240], (s) => `−${s / 60} min`]];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// plot makes one. series say how a sample becomes a number; write how that is
// written.
export function plot(name, about, write, series) {
  const value = h('span', {class: 'number'}, '–');
  const top = h('span', {class: 'most'});
  const keys = series.map((s) => h('span', {class: `key ${s.bad ? 'bad' : s.second ? 'second' : 'first'}`}, s.name, ' ', h('b', null, '–')));
  const frame = h('div', {class: 'frame', role: 'img', 'aria-label': `${name} ${about}`});
  const element = h('figure', {class: 'card plot'},
    h('figcaption', null, h('div', {class: 'name'}, name, h('span', {class: 'faint'}, ' ', about)), value),
    frame, h('div', {class: 'legend'}, keys, top));
  let drawn = null, data = null;

  const spanOf = (age) => spans.find(([s]) => age <= s) ?? spans.at(-1);
  const marks = () => spanOf(data[0].at(-1) - data[0][0])[1];
  const at = (i) => {
    for (const [n, key] of keys.entries()) text(key.lastChild, data?.[n + 1]?.[i] == null ? '–' : write(data[n + 1][i]));
  };
  const options = () => {
    const first = colour('--plot-1'), second = colour('--plot-2'), bad = colour('--bad');
    return {
      width: Math.max(80, frame.clientWidth), height: 96, padding: [6, 2, 0, 2],
      legend: {show: false}, select: {show: false},
      cursor: {y: false, drag: {x: false, y: false}, points: {size: 6}},
      scales: {x: {time: true, range: (_, min, max) => [max - spanOf(max - data[0][0])[0], max]}, y: {range: (_, min, max) => [0, max > 0 ? max * 1.12 : 1]}},
      axes: [{
        stroke: colour('--faint'), grid: {show: false}, ticks: {show: false}, size: 20, gap: 2, font: '11px system-ui, sans-serif',
        splits: (u) => marks().map((s) => u.scales.x.max - s),
        values: () => marks().map((s) => spanOf(data[0].at(-1) - data[0][0])[2](s)),
      }, {show: false}],
      series: [{}, ...series.map((s) => ({
        stroke: s.bad ? bad : s.second ? second : first, width: 1.5, points: {show: false}, spanGaps: false,
        fill: s.bad || s.second ? undefined : colour('--plot-1-fill'),
      }))],
      hooks: {setCursor: [(u) => at(u.cursor.idx ?? data[0].length - 1)]},
    };
  };
  const make = () => {
    drawn?.destroy();
    drawn = data && frame.clientWidth ? new uPlot(options(), data, frame) : null;
  };
  const size = new ResizeObserver(() => {
    if (drawn && frame.clientWidth && drawn.width !== frame.clientWidth) drawn.setSize({width: frame.clientWidth, height: 96});
    else if (!drawn && data) make();
  });
  size.observe(frame);
  addEventListener('theme', make);

  return {
    element,
    draw(samples) {
      if (samples.length === 0) return;
      data = [samples.map((x) => Date.parse(x.at) / 1000), ...series.map((s) => samples.map(s.of))];
      if (drawn) drawn.setData(data);
      else make();
      const now = data[1].findLast((n) => n !== null) ?? null;
      text(value, now === null ? '–' : write(now));
      if (drawn?.cursor.idx == null) at(samples.length - 1);
      const most = Math.max(0, ...data[1].filter((n) => n !== null));
      text(top, most > 0 ? `most ${write(most)}` : '');
      frame.setAttribute('aria-label', `${name} ${about}: now ${now === null ? 'none' : write(now)}, at most ${write(most)} in the last minutes`);
    },
    end() {
      size.disconnect();
      removeEventListener('theme', make);
      drawn?.destroy();
    },
  };
}
