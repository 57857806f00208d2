// The load of W7: a sequence of writes, 64 clients that write, 64 that read what a majority confirms.

const VALUE = Buffer.alloc(100, 120)
const KEYS = 10_000
const keyOf = (i) => `bench/${String(i % KEYS).padStart(8, '0')}`

/** `total` calls of `act(i)` by `clients` loops at once. @returns seconds, and milliseconds of each call, sorted */
async function load(clients, total, act) {
  const ms = new Float64Array(total)
  let next = 0
  const client = async () => {
    for (;;) {
      const i = next++
      if (i >= total) return
      const startMs = performance.now()
      await act(i)
      ms[i] = performance.now() - startMs
    }
  }
  const startMs = performance.now()
  await Promise.all(Array.from({ length: clients }, client))
  return { seconds: (performance.now() - startMs) / 1000, ms: ms.sort() }
}

const share = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]

/**
 * @param {object} member `write(key, value)` and `read(key)` reject when they fail; `read` resolves with undefined for a missing key. `prefix`
 * stands before the names of the figures.
 */
export async function bench({ peer, prefix = '', write: put, read: get }) {
  const emit = (metric, value, unit, n) =>
    process.stdout.write(
      `${JSON.stringify({ workload: 'W7', peer, metric: `${prefix}${metric}`, value: Number(value.toPrecision(6)), unit, n })}\n`,
    )
  const write = (i) => put(keyOf(i), VALUE)
  const read = async (i) => {
    if ((await get(keyOf(i))) === undefined) throw new Error('lost a key')
  }
  await load(1, 200, write)
  const alone = await load(1, 2000, write)
  emit('put_1_client', 2000 / alone.seconds, '1/s', 2000)
  emit('put_1_client_p50', share(alone.ms, 0.5), 'ms', 2000)
  emit('put_1_client_p99', share(alone.ms, 0.99), 'ms', 2000)
  await load(64, 2000, write)
  const many = await load(64, 20_000, write)
  emit('put_64_clients', 20_000 / many.seconds, '1/s', 20_000)
  emit('put_64_clients_p99', share(many.ms, 0.99), 'ms', 20_000)
  await load(64, 2000, read)
  const reads = await load(64, 20_000, read)
  emit('linearizable_read_64_clients', 20_000 / reads.seconds, '1/s', 20_000)
  const one = await load(1, 2000, read)
  emit('linearizable_read_1_client_p50', share(one.ms, 0.5), 'ms', 2000)
}
