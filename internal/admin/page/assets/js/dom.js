// The one place that makes elements. It knows no markup: what is not an element
// becomes text, wherever it came from.

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element: h('a', {class: 'x', href: '#/'}, 'text', child, [more]).
// Properties that begin with "on" are listeners; null, undefined and false leave
// a property or a child out.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s makes an element of a drawing.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(el.dataset, value);
    else if (name === 'style') for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'indeterminate') el[name] = value;
    else el.setAttribute(name, value === true ? '' : value);
  }
  put(el, ...children);
  return el;
}

// put adds children.
export function put(el, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : String(child));
  }
  return el;
}

// show replaces what is in el.
export function show(el, ...children) {
  el.replaceChildren();
  return put(el, ...children);
}

// text sets the text of el, if it is another one: a screen reader hears nothing
// twice, and a selection stays.
export function text(el, value) {
  const now = String(value ?? '');
  if (el.textContent !== now) el.textContent = now;
  return el;
}

// drawing fetches a drawing that is served with the page.
export async function drawing(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return read(await answer.text());
}

// read reads a drawing of ours by its tags: elements, attributes and text. The
// parsers of browsers are for who trusts what they are given.
function read(source) {
  const tokens = source.matchAll(/<(\/?)([a-z]+)((?:\s+[a-zA-Z-]+="[^"]*")*)\s*(\/?)>|([^<]+)/g);
  const plain = (t) => t.replace(/&#(\d+);/g, (_, n) => String.fromCodePoint(Number(n)))
    .replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
  const stack = [document.createElementNS(SVG, 'g')];
  for (const [, closing, tag, attributes, empty, chars] of tokens) {
    const top = stack.at(-1);
    if (chars !== undefined) {
      if (chars.trim() !== '') top.append(plain(chars));
    } else if (closing) {
      stack.pop();
    } else {
      const el = document.createElementNS(SVG, tag);
      for (const [, name, value] of attributes.matchAll(/([a-zA-Z-]+)="([^"]*)"/g)) {
        if (name !== 'xmlns') el.setAttribute(name, plain(value));
      }
      top.append(el);
      if (!empty) stack.push(el);
    }
  }
  return stack[0].firstElementChild;
}

// named shows a text of somebody else's, such as a key: set apart, so that it
// cannot turn what stands around it, and with what cannot be seen made visible.
export function named(value, cls) {
  return h('bdi', {class: cls}, visible(value));
}

export function visible(value) {
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

let ids = 0;
// fresh is an id that no other element has.
export const fresh = (prefix) => `${prefix}-${++ids}`;

// toast tells something that happened, for a moment. A failure stays until it is closed.
export function toast(message, failed) {
  const box = document.getElementById('toasts');
  const one = h('div', {class: failed ? 'toast failed' : 'toast'}, h('span', null, message),
    h('button', {type: 'button', class: 'quiet', 'aria-label': 'Close', onclick: () => one.remove()}, '×'));
  box.append(one);
  while (box.children.length > 4) box.firstChild.remove();
  if (!failed) setTimeout(() => one.remove(), 6000);
}

// copyable is a line that can be copied.
export function copyable(line, label) {
  const button = h('button', {type: 'button', class: 'small', onclick: async () => {
    try {
      await navigator.clipboard.writeText(line);
      toast('Copied');
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      toast('Selected: copy it by the keyboard');
    }
  }, 'aria-label': `Copy ${label}`}, 'Copy');
  const code = h('code', {tabindex: '0', 'aria-label': label}, line);
  return h('div', {class: 'command'}, code, button);
}
