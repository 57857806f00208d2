// Generated programs, here and on Debian's lua5.3: both must print the same. More of them: MOONMESH_LUA_SEEDS=2000.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { ProgramMaker } from './programs.ts'
import { MODES, run } from './support.ts'

const SEEDS = Number(process.env['MOONMESH_LUA_SEEDS'] ?? 25)
const isInstalled = spawnSync('lua5.3', ['-v']).status === 0
if (!isInstalled)
  console.warn('lua5.3 is not installed: generated programs are compared among the ways to run them only')

const dir = mkdtempSync(join(tmpdir(), 'moonmesh-lua-'))
beforeAll(() => {
  floats.areShort = false
})
afterAll(() => {
  floats.areShort = true
  rmSync(dir, { recursive: true, force: true })
})

/** Without what differs by choice: names of operands that only one of the two knows, types of missing arguments, the sign of NaN. */
const comparable = (text: string): string =>
  text
    .replace(/ \((constant|local|upvalue|field|global|method) '[^']*'\)/g, '')
    .replace(/(expected), got \w+( value)?/g, '$1')
    .replace(/(table|function): 0x[0-9a-f]+/g, '$1')
    .replace(/-nan/g, 'nan')

function reference(program: string): string {
  const file = join(dir, 'program.lua')
  writeFileSync(file, program, 'latin1')
  const runner = `local file = io.open(${JSON.stringify(file)}) local text = file:read("a")
    local ok, err = pcall(assert(load(text, "=t"))) if not ok then print("error " .. tostring(err)) end`
  return spawnSync('lua5.3', ['-e', runner], { encoding: 'latin1', timeout: 20_000 }).stdout
}

describe('generated programs', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %d', { timeout: 60_000 }, (seed) => {
    const program = new ProgramMaker(seed).program()
    const expected = comparable(isInstalled ? reference(program) : run(program, 'loop').printed)
    for (const mode of MODES) expect([mode, comparable(run(program, mode).printed)]).toEqual([mode, expected])
  })
})
