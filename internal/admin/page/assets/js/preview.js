// A look into the bytes of a block: a picture, text, or the bytes themselves.

import {h, show, visible} from './dom.js';
import * as f from './format.js';

const mostText = 64 << 10, mostPicture = 1 << 20, mostBytes = 512;

const pictures = [['image/png', [0x89, 0x50, 0x4e, 0x47]], ['image/jpeg', [0xff, 0xd8, 0xff]], ['image/gif', [0x47, 0x49, 0x46, 0x38]], ['image/webp', [0x52, 0x49, 0x46, 0x46]]];

// preview shows the block b, whose bytes are asked for by read.
export function preview(b, read) {
  const body = h('div', null, h('p', {class: 'waiting'}, 'Reading…'));
  const box = h('section', {class: 'card', 'aria-labelledby': 'preview-title'}, h('h2', {id: 'preview-title'}, 'Content'), body);
  if (b.size > mostPicture) {
    show(body, h('p', {class: 'faint'}, `It is longer than ${f.bytes(mostPicture)}; nothing of it is shown.`));
    return box;
  }
  read().then((data) => show(body, look(data))).catch((err) => {
    if (err.name !== 'AbortError') show(body, h('p', {class: 'bad'}, err.message));
  });
  return box;
}

function look(data) {
  if (data.length === 0) return h('p', {class: 'faint'}, 'It is empty.');
  const kind = pictures.find(([, magic]) => magic.every((byte, i) => data[i] === byte));
  if (kind) {
    const url = `data:${kind[0]};base64,${base64(data)}`;
    return h('img', {class: 'picture', src: url, alt: `The block as a picture (${kind[0]})`});
  }
  const part = data.subarray(0, mostText);
  const words = textOf(part, data.length > part.length);
  const rest = (n) => data.length > n && h('p', {class: 'faint small'}, `The first ${f.bytes(n)} of ${f.bytes(data.length)}.`);
  if (words !== null) return [h('pre', {class: 'bytes text', tabindex: '0'}, words), rest(mostText)];
  return [h('pre', {class: 'bytes', tabindex: '0', 'aria-label': 'Bytes in hexadecimal'}, dump(data.subarray(0, mostBytes))), rest(mostBytes)];
}

function base64(data) {
  let out = '';
  for (let i = 0; i < data.length; i += 0x8000) out += String.fromCharCode(...data.subarray(i, i + 0x8000));
  return btoa(out);
}

// textOf is the text in data; null if it is none. A cut may go through a letter.
function textOf(data, cut) {
  try {
    const out = new TextDecoder('utf-8', {fatal: true}).decode(data, {stream: cut});
    if (/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(out)) return null;
    return out.split('\n').map((line) => visible(line.replace(/[\r\t]/g, (c) => c === '\t' ? '    ' : ''))).join('\n');
  } catch {
    return null;
  }
}

function dump(data) {
  const lines = [];
  for (let i = 0; i < data.length; i += 16) {
    const row = [...data.subarray(i, i + 16)];
    const hex = row.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47);
    const chars = row.map((b) => b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '·').join('');
    lines.push(`${i.toString(16).padStart(6, '0')}  ${hex}  ${chars}`);
  }
  return lines.join('\n');
}
