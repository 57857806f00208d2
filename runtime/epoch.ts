// The file `epoch` of a node's directory: a number that no earlier run of the node had. cluster.md §0.1.

import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, MoonmeshError } from './base/errors.ts'

const EPOCH_FILE = 'epoch'

/**
 * The epoch of this run, `max(the last one + 1, wall-clock milliseconds)`, durable before it is returned.
 * @throws MoonmeshError `Invalid` for a file that holds no epoch, or the last there can be; what the disk throws
 */
export async function nextEpoch(dir: string, wallMs: number): Promise<number> {
  const last = await lastEpoch(join(dir, EPOCH_FILE))
  const epoch = Math.max(last + 1, Math.floor(wallMs))
  await writeEpoch(dir, epoch)
  return epoch
}

/** Whether the file still holds this run's epoch. @throws what reading it throws, but for "no such file" */
export async function holdsEpoch(dir: string, epoch: number): Promise<boolean> {
  return (await lastEpoch(join(dir, EPOCH_FILE))) === epoch
}

/** As `writeEpoch`, unless a later one stands there. */
export async function keepEpoch(dir: string, epoch: number): Promise<void> {
  if ((await lastEpoch(join(dir, EPOCH_FILE))) < epoch) await writeEpoch(dir, epoch)
}

/** Written aside and renamed, each step durable before the next: a crash leaves the old epoch or the new one. */
export async function writeEpoch(dir: string, epoch: number): Promise<void> {
  const file = join(dir, EPOCH_FILE)
  const aside = `${file}.new`
  const handle = await open(aside, 'w', 0o600)
  try {
    await handle.writeFile(`${epoch}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(aside, file)
  await syncDirectory(dir)
}

/** 0 when there was no run. */
async function lastEpoch(file: string): Promise<number> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0
    throw error
  }
  const last = /^\d{1,16}\n?$/.test(text) ? Number(text) : Number.NaN
  // Above the last safe integer two runs could have one epoch.
  if (last < Number.MAX_SAFE_INTEGER) return last
  throw new MoonmeshError(
    'Invalid',
    `${file} does not hold the epoch of the last run; remove it if no process of an earlier run matters`,
    { retryable: false, details: { file } },
  )
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
