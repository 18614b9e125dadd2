// The entries of UnixFS folders, sharded ones too.

import {get} from './api.js';

// prefixOf is how many digits stand before the names in a sharded folder: as many
// as the last of its buckets takes.
export function prefixOf(block) {
  const fanout = block.unixfs?.fanout ?? 256;
  return (fanout - 1).toString(16).length;
}

// folder yields {name, cid, size}. The blocks of a sharded folder are read when
// somebody comes to them.
export async function* folder(block, width, signal, depth = 0) {
  const sharded = block.unixfs?.type === 'hamt-shard';
  for (const link of block.links) {
    const name = link.name ?? '';
    if (!sharded) {
      yield {name, cid: link.cid, size: link.size ?? 0};
    } else if (name.length > width) {
      yield {name: name.slice(width), cid: link.cid, size: link.size ?? 0};
    } else if (depth < 32) {
      yield* folder(await get(`blocks/${link.cid}`, {signal}), width, signal, depth + 1);
    }
  }
}
