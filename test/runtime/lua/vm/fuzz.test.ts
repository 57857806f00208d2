// Generated programs, here and on Debian's lua5.3: both must print the same. More of them: npm run fuzz:lua -- --programs 100000 --seed 1.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { Fuzzer } from './fuzz.ts'
import { isInstalled } from './lua53.ts'

const BATCHES = 12
const BATCH = 250
if (!isInstalled) console.warn('lua5.3 is not installed: generated programs are not compared with it')

beforeAll(() => {
  floats.areShort = false
})
afterAll(() => {
  floats.areShort = true
})

describe.skipIf(!isInstalled)('generated programs print what lua5.3 prints', () => {
  test.each(Array.from({ length: BATCHES }, (_, i) => 1 + i * BATCH))('seeds from %d', { timeout: 120_000 }, (seed) => {
    expect(new Fuzzer().compare(seed, BATCH)).toEqual([])
  })
})
