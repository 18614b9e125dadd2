// What other people's clients make of a gateway, one JSON object a line.
// usage: node clients.mjs GATEWAY ROOT FOLDER-THAT-ROOT-WAS-MADE-OF
import './node20.mjs' // before all others

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'

import { trustlessGateway } from '@helia/block-brokers'
import { createHeliaHTTP } from '@helia/http'
import { httpGatewayRouting } from '@helia/routers'
import { createVerifiedFetch } from '@helia/verified-fetch'
import { CarBlockIterator } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'

const [gateway, root, folder] = process.argv.slice(2)

const helia = await createHeliaHTTP({
  blockBrokers: [trustlessGateway({ allowInsecure: true, allowLocal: true })],
  routers: [httpGatewayRouting({ gateways: [gateway] })]
})
const verifiedFetch = await createVerifiedFetch(helia)

const digest = async stream => {
  const h = createHash('sha256')
  let bytes = 0
  for await (const part of stream) {
    h.update(part)
    bytes += part.length
  }
  return `${bytes} ${h.digest('hex')}`
}

const expect = (have, want) => {
  if (have !== want) {
    throw new Error(`have ${have}, want ${want}`)
  }
  return have
}

const answered = async (path, init) => {
  const answer = await verifiedFetch(`ipfs://${root}/${path.split('/').map(encodeURIComponent).join('/')}`, init)
  if (!answer.ok) {
    throw new Error(`${path}: ${answer.status} ${answer.statusText}`)
  }
  return answer
}

const sameFile = async path => expect(
  await digest((await answered(path)).body),
  await digest(createReadStream(join(folder, path))))

const cases = {
  'verified-fetch: a file': () => sameFile('small.txt'),
  'verified-fetch: a nested path': () => sameFile('a/b/c/deep.txt'),
  'verified-fetch: a name that has to be escaped': () => sameFile('a/ä & 100% ☂.txt'),
  'verified-fetch: an entry of a HAMT folder': () => sameFile('many/1234.txt'),
  'verified-fetch: a stream of 100 MB': () => sameFile('large.bin'),
  'verified-fetch: a byte range': async () => {
    const answer = await answered('large.bin', { headers: { Range: 'bytes=50000000-50001023' } })
    expect(answer.status, 206)
    const whole = await readFile(join(folder, 'large.bin'))
    return expect(
      await digest(answer.body),
      await digest(Readable.from([whole.subarray(50000000, 50001024)])))
  },
  '@ipld/car: every block of a whole DAG': async () => {
    const answer = await fetch(`${gateway}/ipfs/${root}?format=car&dag-scope=all`)
    expect(answer.status, 200)
    const car = await CarBlockIterator.fromIterable(Readable.fromWeb(answer.body))
    expect((await car.getRoots()).map(String).join(), root)
    let blocks = 0
    for await (const { cid, bytes } of car) {
      if (cid.multihash.code === sha256.code) {
        expect(Buffer.from((await sha256.digest(bytes)).digest).toString('hex'), Buffer.from(cid.multihash.digest).toString('hex'))
        blocks++
      }
    }
    if (blocks < 3000) {
      throw new Error(`just ${blocks} blocks`)
    }
    return `${blocks} blocks`
  }
}

for (const [name, run] of Object.entries(cases)) {
  try {
    console.log(JSON.stringify({ name, ok: true, saw: await run() }))
  } catch (err) {
    console.log(JSON.stringify({ name, ok: false, saw: String(err?.stack ?? err) }))
  }
}
await verifiedFetch.stop()
await helia.stop()
