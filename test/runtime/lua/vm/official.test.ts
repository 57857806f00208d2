// The official tests of Lua 5.3, from the folder that LUA_TESTS_DIR names: `testes` of tag v5.3.6 of https://github.com/lua/lua. They are no
// part of this repository.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { runOfficial, without } from './official.ts'
import { MODES } from './support.ts'

const dir = process.env['LUA_TESTS_DIR'] ?? ''
if (dir === '') console.warn('LUA_TESTS_DIR is not set: the official tests of Lua 5.3 are skipped')

/** SHA-256: line numbers below belong to these files and no others. */
const FILES: Readonly<Record<string, string>> = {
  bitwise: 'eba62d1a7017882e0101a153c8330ef332928a094c07f53f0d330d226806797d',
  bwcoercion: '73f7ae0e1295c4500e1d76a2bbebecea9b5298247e2d8ea1a29432cdfacc0232',
  calls: '1e2116a989c346ad173be963ab9ae1ac63c6a1edc9836118af4cb3afdddee827',
  closure: '8b03e0f0c673ee27a508264b1c6c5d3eb10cdb66444239c1ecc2903b73fec0dc',
  constructs: 'd0cbfe7c5ef43502f08067f6603dc11053053bd47894953ba68be3ff7645670e',
  coroutine: '54e7ffeb165f55c3c7dc0339e738517251c360c39a38455a15768770948cb3f5',
  errors: '5615e6feafdf36ae8e60b7b95f3dd996e914041e1ad3ee91c8c4d9b1b325965c',
  events: 'bfa17a6570c1f93b1af321c24046bc8285576aa23eb0502cc4a76709e51e2896',
  goto: 'ee1f9144a8b26227ff1a98a0f92d893c572f651a525245f8436809faa3e492e9',
  literals: '955f446568f5c3ad062574b1710daf23cf48cc5b6ae8a0a4b2bc8abb80873073',
  locals: 'ba15c555575044103d2442bb196fb620f726813850d538cfff5a30142c87bf7d',
  math: '40a3320aa52546091d1f53181c9b34d9bd056a07aa6f2703ea3e6acb5bcdc28b',
  nextvar: 'e8e8ea44bdb1c78417740cc2bc6e69577ce71e887465e69fdb176bc552085d2b',
  pm: '49f98059ca7694209fc4b4ed18f45a5eaad8b2b727cba38def163f69c146f9d9',
  sort: '0354f8915a1f409a1db099678ec84a9a3cf812bed9eee814225a2e33c07b8892',
  strings: '9182528ae276f8c932895679094a1b7f3ae7e212e2bc333dd1f0e3095fa945bc',
  tpack: '846d5a2189fa835f9833eae5db62f49df3fc994279044b1622a6ea08c914d93c',
  utf8: '1b33784f124740daa03cafba338fdb368a1cffa8931a0d109b395a79666e1976',
  vararg: '252ee28645ff1ee00801f560736be74f5056c7439abaf3c678c6aa30de808e18',
}

interface Exception {
  readonly file: string
  readonly from: number
  readonly to: number
  readonly reason: string
}

const lines = (file: string, from: number, to: number, reason: string): Exception => ({ file, from, to, reason })

const COLLECTED = 'when garbage is collected cannot be seen: there are no weak tables (lua-core.md §2.1)'
const BINARY = 'there is no binary form of code (lua-core.md §2.2: load, string.dump)'
const YIELDING = 'the first coroutine of a process may yield: it gives up its turn'
const DEBUG = 'needs debug (lua-core.md §2.2)'
const FILE = 'needs a file of io (lua-core.md §2.2)'
const SAME = 'the manual leaves open whether functions that cannot be told apart are one (§3.4.4)'

/** Lines that are not run. All others are. */
const EXCEPTIONS: readonly Exception[] = [
  lines('calls', 240, 240, DEBUG),
  lines('calls', 257, 267, BINARY),
  lines('calls', 283, 287, BINARY),
  lines('calls', 308, 322, BINARY),
  lines('calls', 339, 345, BINARY),
  lines('calls', 365, 398, BINARY),
  lines('closure', 29, 32, COLLECTED),
  lines('closure', 36, 42, COLLECTED),
  lines('closure', 48, 48, SAME),
  lines('closure', 56, 56, SAME),
  lines('closure', 229, 229, DEBUG),
  lines('constructs', 226, 226, DEBUG),
  lines('coroutine', 13, 14, YIELDING),
  lines('coroutine', 238, 238, COLLECTED),
  lines('errors', 140, 146, 'needs light userdata, which only debug can show'),
  lines('errors', 149, 149, FILE),
  lines('errors', 152, 152, FILE),
  lines('errors', 154, 154, FILE),
  lines('errors', 157, 157, FILE),
  lines('errors', 166, 179, BINARY),
  lines('errors', 228, 228, FILE),
  lines('errors', 256, 256, YIELDING),
  lines('errors', 360, 373, 'needs debug.traceback within the handler of an xpcall'),
  lines('errors', 394, 394, 'a second overflow, in the handler of the first, is told apart by its text alone'),
  lines('events', 404, 431, 'only debug gives metatables to numbers, booleans and nil'),
]

describe.skipIf(dir === '')('official tests', () => {
  beforeAll(() => {
    floats.areShort = false
  })
  afterAll(() => {
    floats.areShort = true
  })

  describe.each(MODES)('%s', (mode) => {
    test.each(Object.entries(FILES))('%s', { timeout: 300_000 }, (name, hash) => {
      const bytes = readFileSync(join(dir, `${name}.lua`))
      expect(createHash('sha256').update(bytes).digest('hex'), 'a file of another version').toBe(hash)
      const ranges = EXCEPTIONS.filter(({ file }) => file === name)
      // The many thousand chunks of this file take minutes if all become JavaScript.
      const isSoft = name === 'constructs' && mode === 'compiled'
      const text = without(bytes.toString('latin1'), ranges)
      expect(runOfficial(`${name}.lua`, isSoft ? `_soft = true ${text}` : text, mode)).toBeUndefined()
    })
  })
})
