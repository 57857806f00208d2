// The planted bugs fit the code that they are made for: each text stands in its file once. The built product has the same lines.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PLANTS } from './plants.ts'

const ROOT = join(import.meta.dirname, '../..')

/** A line of the built product as it stands in the source: without the semicolon at its end. */
const inSource = (text: string): string => text.replace(/;$/, '')

test.each(PLANTS.flatMap(({ name, patches }) => patches.map((patch) => ({ name, ...patch }))))(
  '$name fits $file',
  ({ file, from }) => {
    const source = readFileSync(join(ROOT, file.replace(/\.js$/, '.ts')), 'utf8')
    expect(source.split(inSource(from))).toHaveLength(2)
  },
)
