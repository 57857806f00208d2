import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const cwd = import.meta.dirname
const tsc = join(cwd, '../../node_modules/.bin/tsc')

test('the program compiles as its README says, and its actors talk to each other', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mm-embedded-'))
  try {
    execFileSync(tsc, { cwd })
    const env = { ...process.env, RUNTIME_NODE__DATA_DIR: dataDir }
    const stdout = execFileSync(process.execPath, ['dist/main.js'], { cwd, env, encoding: 'utf8', timeout: 30_000 })
    expect(stdout).toBe("{ texts: [ '1,234,567.50', '1.234.567,50', '12,34,567.50' ], sum: 42 }\n")
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
})
