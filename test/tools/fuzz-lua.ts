// npm run fuzz:lua -- --programs N --seed S: generated programs on this engine and on lua5.3. Ends with 1 if one prints something else.

import { parseArgs } from 'node:util'
import { floats } from '../../runtime/lua/vm/number.ts'
import { Fuzzer } from '../runtime/lua/vm/fuzz.ts'
import { isInstalled } from '../runtime/lua/vm/lua53.ts'

const BATCH = 250
/** Shapes of tables and what was learned about them last as long as an engine. */
const BATCHES_OF_ENGINE = 20
const DIFFERENCES_MAX = 20
/** To make a program small takes seconds. */
const SHRUNK_MAX = 5

const { values } = parseArgs({
  options: { programs: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' } },
})
const first = Number(values.seed)
const end = first + Number(values.programs)
const write = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

if (!isInstalled) {
  write('lua5.3 is not installed')
  process.exit(2)
}
floats.areShort = false
let fuzzer = new Fuzzer()
let found = 0
let skipped = 0
const explained: Record<string, number> = {}
let batches = 0
const start = Date.now()
/** By the clock, and by what this process has worked. */
const rate = (done: number): string => {
  const { user, system } = process.cpuUsage()
  return `${Math.round((done * 1000) / (Date.now() - start))} a second, ${Math.round((done * 1e6) / (user + system))} of processor time`
}
for (let seed = first; seed < end && found < DIFFERENCES_MAX; seed += BATCH) {
  for (const difference of fuzzer.compare(seed, Math.min(BATCH, end - seed))) {
    if (++found > DIFFERENCES_MAX) break
    const { mode, program, expected, printed } = found > SHRUNK_MAX ? difference : fuzzer.shrink(difference)
    const lines = expected.split('\n')
    const here = printed.split('\n')
    const at = lines.findIndex((line, i) => line !== here[i])
    write(
      `==== seed ${difference.seed}, ${mode}\n${found > SHRUNK_MAX ? '' : program}\n---- lua5.3\n${lines[at]}\n---- here\n${here[at]}\n`,
    )
  }
  if (++batches % BATCHES_OF_ENGINE === 0) {
    skipped += fuzzer.skipped
    for (const [why, count] of Object.entries(fuzzer.explained)) explained[why] = (explained[why] ?? 0) + count
    for (const text of fuzzer.unanswered) write(`==== no answer: ${text}`)
    fuzzer = new Fuzzer()
    const done = Math.min(end, seed + BATCH) - first
    write(
      `${done} programs, ${found} differences, ${JSON.stringify(explained)} explained, ${skipped} not compared, ${rate(done)}`,
    )
  }
}
write(`${Math.min(end, first + batches * BATCH) - first} programs, ${found} differences`)
process.exitCode = found > 0 ? 1 : 0
