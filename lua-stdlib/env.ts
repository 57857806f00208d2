// Module `env`: environment variables as the app declares them. lua-libraries.md §12.

import { TableValue } from '../runtime/base/value.ts'
import type { Call, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { processOf, stringArg, wrongType } from './support/args.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { mayDo, refusal } from './support/permit.ts'
import { waitAlone } from './support/wait.ts'

function get(call: Call): Returns {
  const key = stringArg(call, 1, 'get')
  if (key === '') return fail('Invalid', 'empty key')
  const refused = refusal(call, 'env.get', key)
  if (refused !== undefined) return refused
  const process = processOf(call)
  return waitAlone(call, (done) =>
    process.request('env', 'get', [key], (answer) =>
      done(answer.ok ? [answer.value as string, undefined] : failWith(answer.error)),
    ),
  )
}

function set(call: Call): Returns {
  const key = stringArg(call, 1, 'set')
  const value = call.arg(2)
  if (typeof value !== 'string') return wrongType(call, 2, 'set', 'string')
  if (key === '') return fail('Invalid', 'empty key')
  const refused = refusal(call, 'env.set', key)
  if (refused !== undefined) return refused
  const process = processOf(call)
  return waitAlone(call, (done) =>
    process.request('env', 'set', [key, value], (answer) => done(answer.ok ? TRUE_NIL : failWith(answer.error))),
  )
}

/** Without what the caller may not read. */
function getAll(call: Call): Returns {
  const process = processOf(call)
  return waitAlone(call, (done) =>
    process.request('env', 'all', [], (answer) => {
      if (!answer.ok) return done(failWith(answer.error))
      const all = answer.value as TableValue
      const visible = new TableValue()
      for (const [i, name] of all.keys.entries()) {
        if (!mayDo(process, 'env.get', name as string)) continue
        visible.keys.push(name)
        visible.values.push(all.values[i])
      }
      done([process.engine.copyIn(visible), undefined])
    }),
  )
}

export const envModule: LibraryModule = {
  name: 'env',
  description: 'environment variables',
  tags: ['process', 'nondeterministic'],
  build: () => ({ get, set, get_all: getAll }),
}
