// How figures, sizes and times are written.

const group = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

// count writes a whole number with its thousands apart.
export const count = (n) => n === null || n === undefined ? '–' : group.format(n);

// short writes a number in four characters or so.
export function short(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  for (const [size, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (n >= size) {
      const k = letter === 'k' ? 1e3 : size;
      return `${trim(n / k)}${letter}`;
    }
  }
  return n >= 100 || Number.isInteger(n) ? group.format(n) : trim(n);
}

function trim(n) {
  return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

// parts is a size as its number and its unit; a negative one is not known.
export function parts(n) {
  if (n === null || n === undefined || n < 0) return ['–', ''];
  let i = 0;
  while (n >= 1023.5 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return [i === 0 ? String(Math.round(n)) : trim(n), units[i]];
}

// bytes writes a size.
export function bytes(n) {
  const [value, unit] = parts(n);
  return unit ? `${value} ${unit}` : value;
}

// exactly writes a size with all its digits, for a title.
export const exactly = (n) => n < 0 ? 'not known' : `${count(n)} bytes`;

// seconds writes how long something takes.
export function seconds(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return '–';
  if (n < 1e-3) return `${trim(n * 1e6)} µs`;
  if (n < 1) return `${trim(n * 1e3)} ms`;
  if (n < 60) return `${trim(n)} s`;
  const m = Math.floor(n / 60);
  if (m < 60) return `${m} min ${Math.round(n % 60)} s`.replace(' 60 s', ' 59 s');
  const hours = Math.floor(m / 60);
  if (hours < 48) return `${hours} h ${m % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// ago writes how long ago a moment was.
export function ago(at, now = Date.now()) {
  const s = (now - new Date(at).getTime()) / 1000;
  if (Number.isNaN(s)) return '–';
  if (s < 0) return `in ${span(-s)}`;
  return s < 1.5 ? 'just now' : `${span(s)} ago`;
}

function span(s) {
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

// moment writes a moment in full.
export const moment = (at) => new Date(at).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'medium'});

// clock writes the time of the day.
export const clock = (at) => new Date(at).toLocaleTimeString(undefined, {hour12: false});

// plural writes a number with what is counted.
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

// upper begins with a capital.
export const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// middle shortens a long word, such as a CID, in its middle.
export const middle = (text, most = 24) =>
  text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2))}…${text.slice(-Math.floor(most / 2) + 1)}`;

// bare is an error without the shard that it is about, where that is said already.
export const bare = (error) => error.replace(/^\w+ shard "(?:[^"\\]|\\.)*": /, '');

// quoted is a word as a shell takes it.
export const quoted = (word) => /^[\w@%+=:,./-]+$/.test(word) && !word.startsWith('-') ? word : `'${word.replaceAll("'", `'\\''`)}'`;

// hostOf is the host of a URL; "" if it has none.
export function hostOf(url) {
  const m = /^[a-z0-9+.-]+:\/\/([^/?#]*)/i.exec(url);
  return m ? m[1] : '';
}
