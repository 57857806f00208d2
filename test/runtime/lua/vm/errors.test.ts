// What this engine says of programs that fail, beside what lua5.3 says of them (see errors.ts). Where lua5.3 is installed, `vitest -u` asks it
// and writes testdata/errors/*.txt anew: a new program is a block of lines in one of them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LuaSyntaxError } from '../../../../runtime/lua/engine.ts'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { parseFailures, shown, writeFailures } from './errors.ts'
import { isInstalled, reference } from './lua53.ts'
import { type Mode, run } from './support.ts'

const DIR = join(import.meta.dirname, 'testdata', 'errors')
if (!isInstalled) console.warn('lua5.3 is not installed: what it says of programs is taken from testdata alone')

function printed(source: string, mode: Mode): string {
  try {
    return run(source, mode).printed
  } catch (error) {
    if (error instanceof LuaSyntaxError) return `syntax ${error.message}`
    throw error
  }
}

beforeAll(() => {
  floats.areShort = false
})
afterAll(() => {
  floats.areShort = true
})

describe.each(readdirSync(DIR))('%s', (file) => {
  const failures = parseFailures(readFileSync(join(DIR, file), 'utf8'))

  test.skipIf(!isInstalled)('is what lua5.3 says', async () => {
    const said = reference(failures.map(({ source }) => source))
    const written = failures.map((failure, i) => ({ ...failure, expected: shown(said[i] as string) }))
    await expect(writeFailures(written)).toMatchFileSnapshot(join(DIR, file))
  })

  test('has a reason for each difference', () => {
    for (const { source, expected, here, why } of failures) {
      expect([source, here === '' || here !== expected, (here === '') === (why === '')]).toEqual([source, true, true])
    }
  })

  test.each(['loop', 'compiled'] as const)('is what this engine says, %s', { timeout: 60_000 }, (mode) => {
    const said = failures.map(({ source }) => ({ source, says: shown(printed(source, mode)) }))
    const wrong = said.filter(({ says }, i) => {
      const { expected, here } = failures[i] as (typeof failures)[number]
      return says !== (here === '' ? expected : here)
    })
    const due = failures.map(({ source, expected, here }) => ({ source, says: here === '' ? expected : here }))
    expect(wrong).toEqual(due.filter(({ source }) => wrong.some((each) => each.source === source)))
  })
})
