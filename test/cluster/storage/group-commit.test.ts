// Writers share syncs, and nobody is told of what is not durable. cluster.md §5.1 D2, D6.

import { describe, expect, test } from 'vitest'
import { failure, failureReason } from '../../../cluster/storage/failure.ts'
import { GroupCommit } from '../../../cluster/storage/group-commit.ts'
import type { Operation } from '../../../cluster/storage/storage.ts'

function put(key: number, sizeBytes = 1): Operation {
  return { kind: 'put', key: Uint8Array.of(key), value: new Uint8Array(sizeBytes) }
}

/** A disk that answers when it is told to. */
function slowDisk(limits: { batchBytesMax?: number; waitingBytesMax?: number } = {}) {
  const batches: { keys: number[]; finish: (error?: Error) => void }[] = []
  const commits = new GroupCommit({
    path: 'x',
    batchBytesMax: 1000,
    waitingBytesMax: 10_000,
    ...limits,
    commit: (operations) =>
      new Promise((resolve, reject) => {
        const finish = (error?: Error): void => (error === undefined ? resolve() : reject(error))
        batches.push({ keys: operations.map(({ key }) => key[0] as number), finish })
      }),
  })
  return { batches, commits }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('group commit', () => {
  test('one sync covers all that came in while the last was under way', async () => {
    const { batches, commits } = slowDisk()
    const answered: number[] = []
    for (const key of [1, 2]) void commits.write([put(key)]).then(() => answered.push(key))
    await settled()
    for (const key of [3, 4, 5]) void commits.write([put(key)]).then(() => answered.push(key))
    await settled()
    expect(batches.map(({ keys }) => keys)).toEqual([[1, 2]])
    expect(answered).toEqual([])
    batches[0]?.finish()
    await settled()
    expect(answered).toEqual([1, 2])
    expect(batches.map(({ keys }) => keys)).toEqual([
      [1, 2],
      [3, 4, 5],
    ])
    batches[1]?.finish()
    await settled()
    expect(answered).toEqual([1, 2, 3, 4, 5])
    expect(commits.waitingBytes).toBe(0)
  })

  test('a batch is closed when it is large enough; one write is never split', async () => {
    const { batches, commits } = slowDisk({ batchBytesMax: 100 })
    void commits.write([put(1, 60), put(2, 60)])
    void commits.write([put(3, 50)])
    void commits.write([put(4, 40)])
    void commits.write([put(5, 40)])
    for (let at = 0; at < 3; at++) {
      await settled()
      batches[at]?.finish()
    }
    expect(batches.map(({ keys }) => keys)).toEqual([[1, 2], [3, 4], [5]])
  })

  test('after a failure nothing is written again, and everybody hears the reason', async () => {
    const { batches, commits } = slowDisk()
    const first = commits.write([put(1)])
    await settled()
    const second = commits.write([put(2)])
    const heard = Promise.allSettled([first, second])
    const full = failure('full', 'x')
    batches[0]?.finish(full)
    expect((await heard).map((each) => (each as PromiseRejectedResult).reason)).toEqual([full, full])
    await expect(commits.write([put(3)])).rejects.toBe(full)
    expect(batches.length).toBe(1)
    expect(commits.failure).toBe(full)
    await commits.close()
  })

  test('more than the limit is refused, and so is what would stand on it', async () => {
    const { batches, commits } = slowDisk({ waitingBytesMax: 100 })
    const first = commits.write([put(1, 90)])
    const refused = commits.write([put(2, 50)])
    const next = commits.write([put(3, 1)])
    await expect(refused).rejects.toMatchObject({ kind: 'LimitExceeded' })
    await expect(next).rejects.toMatchObject({ kind: 'LimitExceeded' })
    await settled()
    batches[0]?.finish()
    await first
    await expect(commits.write([put(4)])).rejects.toBe(commits.failure)
    expect(batches.map(({ keys }) => keys)).toEqual([[1]])
  })

  test('one write is taken in whatever its size', async () => {
    const { batches, commits } = slowDisk({ waitingBytesMax: 100 })
    const large = commits.write([put(1, 500)])
    await settled()
    batches[0]?.finish()
    await large
    expect(commits.failure).toBeUndefined()
  })

  test('closing answers what is waiting', async () => {
    const { batches, commits } = slowDisk()
    const write = commits.write([put(1)])
    const closing = commits.close()
    await expect(commits.write([put(2)])).rejects.toSatisfy((error) => failureReason(error) === 'closed')
    await settled()
    batches[0]?.finish()
    await write
    await closing
  })
})
