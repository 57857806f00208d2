import { chmodSync, lstatSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Entry } from '../../../runtime/app/load.ts'
import { EnvKeeper } from '../../../runtime/env/env.ts'

let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'moonmesh-env-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** Sets the variable A in the file. */
async function set(path: string, value: string): Promise<void> {
  const keeper = new EnvKeeper({})
  const storage = { kind: 'env.storage.file', id: 'app:file', file: join(dir, 'app.yaml'), filePath: path }
  const variable = { kind: 'env.variable', id: 'app:a', variable: 'A', storage: 'app:file', readonly: false }
  const options = { autoCreate: true, fileMode: 0o644, dirMode: 0o755 }
  keeper.configure([{ ...storage, ...options }, variable] as unknown as Entry[])
  await keeper.methods['set']?.(['A', value], { pid: '', entry: 'app:main', signal: new AbortController().signal })
}

test('a file that is there keeps its permissions and its other lines (lua-libraries.md §12)', async () => {
  const path = join(dir, 'secrets.env')
  const before = Buffer.from('# caf\xe9\nKEY=s\xe9cret\n', 'latin1')
  writeFileSync(path, before)
  chmodSync(path, 0o600)
  await set('secrets.env', 'x')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path)).toEqual(Buffer.concat([before, Buffer.from('A=x\n')]))
})

test('a link to the file stays one', async () => {
  writeFileSync(join(dir, 'real.env'), 'B=1\n')
  symlinkSync('real.env', join(dir, 'link.env'))
  await set('link.env', 'x')
  expect(lstatSync(join(dir, 'link.env')).isSymbolicLink()).toBe(true)
  expect(readFileSync(join(dir, 'real.env'), 'utf8')).toBe('B=1\nA=x\n')
})

test('a new file has the mode that is set', async () => {
  await set('below/new.env', 'x')
  expect(statSync(join(dir, 'below/new.env')).mode & 0o777 & ~0o644).toBe(0)
  expect(readFileSync(join(dir, 'below/new.env'), 'utf8')).toBe('A=x\n')
})

test.runIf(process.platform === 'linux')('a place that takes no directories is an error, not a hang', async () => {
  await expect(set('/proc/nowhere/new.env', 'x')).rejects.toThrow('/proc/nowhere')
})
