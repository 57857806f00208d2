import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { watchFiles } from '../../../cluster/mesh/watch-files.ts'
import { eventually } from '../../tools/eventually.ts'

const folder = mkdtempSync(join(tmpdir(), 'watch-files-'))
const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
  rmSync(folder, { recursive: true, force: true })
})

test('files that are written or replaced one after the other are told once', async () => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  writeFileSync(cert, 'a')
  writeFileSync(key, 'a')
  let changes = 0
  stops.push(watchFiles([cert, key], () => changes++, { lookMs: 10, debounceMs: 100 }))
  let attempts = 0
  // A write before the first look is nothing new to it: written anew now and then until it is seen.
  await eventually(() => {
    if (attempts++ % 30 === 0) writeFileSync(cert, 'b'.repeat(attempts))
    return changes > 0
  })
  const before = changes
  writeFileSync(cert, 'new certificate')
  writeFileSync(`${key}.new`, 'new key')
  renameSync(`${key}.new`, key)
  await eventually(() => changes > before)
  expect(changes).toBe(before + 1)
})
