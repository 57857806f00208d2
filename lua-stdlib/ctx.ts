// Module `ctx`: the values that with_context of `process` and `funcs` gave this process or call. lua-core.md §16.

import { toText } from '../runtime/base/bytes.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { processOf, stringArg } from './support/args.ts'
import { fail } from './support/fail.ts'

export const ctxModule: LibraryModule = {
  name: 'ctx',
  description: 'values that a process or call inherits',
  tags: ['deterministic'],
  build: () => ({
    get: (call) => {
      const key = stringArg(call, 1, 'get')
      if (key === '') return fail('Invalid', 'empty key')
      const value = processOf(call).context.get(key)
      if (value === undefined) return fail('NotFound', `key not found: ${toText(key)}`)
      return [call.engine.copyIn(value), undefined]
    },
    all: (call) => [call.engine.copyIn(processOf(call).context), undefined],
  }),
}
