// Watches of scripts: events go to a process no faster than it reads them, and end with the process, its wish or the store. cluster.md §8.4.

import { expect, test } from 'vitest'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { toPlain } from '../../../runtime/base/plain.ts'
import type { Value } from '../../../runtime/base/value.ts'
import { type BackendWatch, eventValue, type WatchEvent } from '../../../runtime/store/watches.ts'
import { Watches } from '../../../runtime/watches.ts'

const turn = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done))
}

/** Gives what it is fed; counts how often it was asked. */
class Source implements BackendWatch {
  asked = 0
  isClosed = false
  readonly #ready: (readonly WatchEvent[] | Error)[] = []
  #waiting: (() => void) | undefined

  feed(...batches: (readonly WatchEvent[] | Error)[]): void {
    this.#ready.push(...batches)
    this.#waiting?.()
  }

  async next(): Promise<readonly WatchEvent[] | undefined> {
    this.asked++
    while (this.#ready.length === 0 && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
    const next = this.#ready.shift()
    if (next instanceof Error) throw next
    return next
  }

  close(): void {
    this.isClosed = true
    this.#waiting?.()
  }
}

function rig() {
  const sent: unknown[] = []
  const feed = (pid: string, topic: string, [event, isLast]: readonly Value[]): void => {
    sent.push([pid, topic, toPlain(event), ...(isLast === undefined ? [] : [isLast])])
  }
  const watches = new Watches(feed, 'store', eventValue)
  const source = new Source()
  watches.add('p', 't', 's:s', source)
  return { watches, source, sent }
}

const put = (version: number): WatchEvent => ({ type: 'put', key: 'k', value: version, version: String(version) })

test('events come in order, each once', async () => {
  const { watches, source, sent } = rig()
  source.feed(
    [put(1), { type: 'delete', key: 'k', version: '2', prevVersion: '1' }],
    [{ type: 'resync', version: '9' }],
  )
  await turn()
  expect(sent).toEqual([
    ['p', 't', { type: 'put', key: 'k', value: 1, version: '1' }],
    ['p', 't', { type: 'delete', key: 'k', version: '2', prev_version: '1' }],
    ['p', 't', { type: 'resync', version: '9' }],
  ])
  expect([watches.count, watches.resyncs]).toEqual([1, 1])
})

test('no more than 1024 are unread; then the store keeps the rest', async () => {
  const { watches, source, sent } = rig()
  for (let batch = 0; batch < 8; batch++) source.feed(Array.from({ length: 256 }, (_, i) => put(batch * 256 + i)))
  await turn()
  expect([sent.length, source.asked]).toEqual([1024, 4])
  watches.consumed('p', 't', 64)
  await turn()
  expect([sent.length, source.asked]).toEqual([1216 + 64, 5])
  watches.consumed('p', 't', 1000)
  await turn()
  expect(sent.length).toBe(2048)
})

test('a process that ends, or closes it, hears no more', async () => {
  const { watches, source, sent } = rig()
  const other = new Source()
  watches.add('q', 't', 's:s', other)
  watches.close('p', 't')
  watches.closeOf('q')
  source.feed([put(1)])
  other.feed([put(1)])
  await turn()
  expect([sent, source.isClosed, other.isClosed, watches.count]).toEqual([[], true, true, 0])
})

test('a store that stops, or a watch that cannot go on, is the last event', async () => {
  const { watches, source, sent } = rig()
  watches.closeSource('s:s')
  await turn()
  expect(sent).toEqual([
    ['p', 't', { type: 'closed', error: expect.objectContaining({ message: 'store is closed' }) }, true],
  ])
  const broken = new Source()
  watches.add('p', 'u', 's:s', broken)
  broken.feed(new MoonmeshError('LimitExceeded', 'too many'))
  await turn()
  expect(sent.at(-1)).toEqual([
    'p',
    'u',
    { type: 'closed', error: expect.objectContaining({ kind: 'LimitExceeded' }) },
    true,
  ])
  expect([watches.count, source.isClosed, broken.isClosed]).toEqual([0, true, true])
})
