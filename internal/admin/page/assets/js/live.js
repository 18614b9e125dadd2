// What keeps the page live: the stream of events, and the figures that are asked
// for while somebody looks.

import {get} from './api.js';

const patience = [1, 2, 4, 8, 15]; // seconds until the next try
const every = 2000;

class Live extends EventTarget {
  store = null; // who holds the store
  stats = null;
  before = null; // the stats before
  hosts = [];
  gap = null; // the last event that says that others are missing
  events = []; // the last ones, the newest first
  connected = false;
  retryAt = 0;

  #source = null;
  #last = '';
  #tries = 0;
  #timer = 0;
  #poll = 0;
  #failing = false;
  #on = false;

  // begin begins, once somebody is signed in.
  begin() {
    if (this.#on) return;
    this.#on = true;
    this.#tries = 0;
    this.#connect();
    this.#look();
    document.addEventListener('visibilitychange', this.#seen);
  }

  // end ends, when nobody is.
  end() {
    this.#on = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#poll);
    this.#source?.close();
    this.#source = null;
    document.removeEventListener('visibilitychange', this.#seen);
  }

  #seen = () => {
    if (!document.hidden) this.refresh();
  };

  // again connects now.
  again() {
    this.#tries = 0;
    this.#connect();
    this.refresh();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const query = this.#last ? `?after=${encodeURIComponent(this.#last)}` : '?last=200';
    const source = new EventSource(`/api/v1/events${query}`);
    this.#source = source;
    source.onopen = () => {
      this.#tries = 0;
      this.#state();
    };
    source.onerror = () => {
      // The browser would try by itself, but not after every failure, and it
      // does not say when.
      source.close();
      if (this.#source !== source || !this.#on) return;
      this.#source = null;
      const wait = patience[Math.min(this.#tries++, patience.length - 1)] * 1000;
      this.retryAt = Date.now() + wait;
      this.#timer = setTimeout(() => this.#connect(), wait);
      this.#state();
    };
    for (const kind of ['transition', 'work', 'evicted', 'fault', 'host', 'trouble', 'job', 'gap']) {
      source.addEventListener(kind, (message) => this.#heard(JSON.parse(message.data)));
    }
  }

  #heard(event) {
    if (event.id) this.#last = event.id;
    if (event.kind !== 'job' && !(event.kind === 'work' && event.phase === 'moved')) {
      this.events.unshift(event);
      if (this.events.length > 200) this.events.length = 200;
    }
    if (event.kind === 'gap') this.gap = event;
    if (event.kind === 'host' || event.kind === 'gap') this.askHosts();
    this.dispatchEvent(new CustomEvent('event', {detail: event}));
  }

  #state() {
    const now = this.#source?.readyState === EventSource.OPEN && !this.#failing;
    if (now !== this.connected) {
      this.connected = now;
      if (now) this.askHosts();
    }
    this.dispatchEvent(new Event('connection'));
  }

  // refresh asks for the figures now.
  refresh() {
    clearTimeout(this.#poll);
    this.#look();
  }

  async #look() {
    clearTimeout(this.#poll);
    try {
      const stats = await get('stats');
      this.before = this.stats;
      this.stats = stats;
      this.store ??= await get('store');
      this.#failing = false;
      this.dispatchEvent(new Event('stats'));
    } catch (err) {
      this.#failing = err.status === 0 || err.status >= 500;
    }
    if (!this.#on) return;
    this.#state();
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => this.#look(), document.hidden ? every * 15 : every);
  }

  #asking = false;
  async askHosts() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.hosts = (await get('hosts')).hosts;
      this.dispatchEvent(new Event('hosts'));
    } catch { /* the connection says what is wrong */ } finally {
      this.#asking = false;
    }
  }

  // may reports whether who is signed in has a scope.
  may(scope) {
    const scopes = this.store?.scopes ?? [];
    return scopes.includes(scope) || scope === 'read' && scopes.includes('write');
  }
}

export const live = new Live();

// listen hears events until the view is left.
export function listen(signal, kind, f) {
  live.addEventListener(kind, f, {signal});
}

// calmly makes a function that is called at most once in a while, and once more
// for the calls meanwhile.
export function calmly(ms, f) {
  let timer = 0, again = false;
  const run = () => {
    f();
    again = false;
    timer = setTimeout(() => {
      timer = 0;
      if (again) run();
    }, ms);
  };
  return () => {
    if (timer) again = true;
    else run();
  };
}
