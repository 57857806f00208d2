// Small files that are replaced as a whole: JSON, so that a person can read them, and a checksum line below it. At any moment the
// file is either the old one or the new one.

import { dirname } from 'node:path'
import { messageOf } from '../../runtime/base/errors.ts'
import { crc32c } from './crc32c.ts'
import { failure, failureReason } from './failure.ts'
import type { Files, OpenFile } from './files.ts'

/** Longer ones are not ours. */
const SIZE_BYTES_MAX = 1024 * 1024

/** Replaces the file at `path` by one that holds `content`, durably. */
export async function writeSealed(files: Files, path: string, content: object): Promise<void> {
  const text = Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`)
  const aside = `${path}.new`
  const file = await files.open(aside, 'create')
  try {
    await file.write(Buffer.concat([text, Buffer.from(`${sumOf(text)}\n`)]), 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await files.rename(aside, path)
  await files.syncDirectory(dirname(path))
}

/**
 * What the file at `path` holds; undefined when there is none.
 * @throws MoonmeshError of reason `corrupt` when it is not what was written
 */
export async function readSealed(files: Files, path: string): Promise<unknown> {
  let file: OpenFile
  try {
    file = await files.open(path, 'read')
  } catch (error) {
    if (failureReason(error) === 'missing') return undefined
    throw error
  }
  try {
    const bytes = await file.read(0, Math.min(await file.size(), SIZE_BYTES_MAX))
    const end = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1
    const text = bytes.subarray(0, end)
    const sum = Buffer.from(bytes.subarray(end)).toString('latin1')
    if (sum !== `${sumOf(text)}\n`) throw failure('corrupt', path, 'it does not match its checksum')
    return JSON.parse(Buffer.from(text).toString('utf8'))
  } catch (error) {
    if (failureReason(error) !== undefined) throw error
    throw failure('corrupt', path, messageOf(error), error)
  } finally {
    await file.close()
  }
}

function sumOf(text: Uint8Array): string {
  return `crc32c ${crc32c(text).toString(16).padStart(8, '0')}`
}
