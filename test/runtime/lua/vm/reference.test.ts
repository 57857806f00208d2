// What lua5.3 prints for small programs, most of which this engine once got wrong. Where lua5.3 is installed, `vitest -u` asks it and writes
// testdata/*.txt anew: a rule behind `#`, a program, `----`, and what it prints.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { isInstalled, reference } from './lua53.ts'
import { MODES, run } from './support.ts'

const DIR = join(import.meta.dirname, 'testdata')
if (!isInstalled) console.warn('lua5.3 is not installed: what it prints is taken from testdata alone')

interface Case {
  readonly rule: string
  readonly source: string
  readonly printed: string
}

function casesOf(file: string): Case[] {
  const blocks = readFileSync(join(DIR, file), 'utf8').trimEnd().split(/\n\n+/)
  return blocks.map((block) => {
    const [program = '', printed = ''] = block.split(/^----$/m)
    const [rule = '', ...lines] = program.trimEnd().split('\n')
    return { rule: rule.replace(/^# /, ''), source: `${lines.join('\n')}\n`, printed: printed.trimStart() }
  })
}

beforeAll(() => {
  floats.areShort = false
})
afterAll(() => {
  floats.areShort = true
})

describe.each(readdirSync(DIR).filter((name) => name.endsWith('.txt')))('%s', (file) => {
  const cases = casesOf(file)

  test.skipIf(!isInstalled)('is what lua5.3 prints', async () => {
    const printed = reference(cases.map(({ source }) => source))
    const blocks = cases.map(({ rule, source }, i) => `# ${rule}\n${source}----\n${printed[i]}`)
    await expect(blocks.join('\n')).toMatchFileSnapshot(join(DIR, file))
  })

  test.each(cases)('$rule', ({ source, printed }) => {
    for (const mode of MODES) expect([mode, run(source, mode).printed.trimEnd()]).toEqual([mode, printed.trimEnd()])
  })
})
